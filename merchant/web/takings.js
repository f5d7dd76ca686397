// Today's payments of the shop: fetched once, then kept by the stream of events; fetched anew whenever that breaks.
import { $, amountText, clockText, text, write } from './common.js';

const SHOWN_MAX = 100;
const RETRY_MS = 3000;

const midnight = () => new Date().setHours(0, 0, 0, 0) / 1000;
/** Base units that went back, or are on their way back. */
const refundOf = (payment) => payment.refunds.filter((refund) => refund.state !== 'failed')
  .reduce((sum, refund) => sum + BigInt(refund.amount_units), 0n);

export class Takings {
  /** onReachable(bool), and onError(ApiError) for a key that is refused: nothing is tried again then. */
  constructor(api, onReachable, onError) {
    Object.assign(this, { api, onReachable, onError });
    this.payments = new Map();
    this.news = new Map(); // what the stream told while a list was on its way, which may be older
    this.ending = new AbortController();
  }

  end() { this.ending.abort(); }

  /** The list as it is now; throws ApiError. */
  async load() {
    this.news = new Map();
    const rows = await this.api.all(`/v1/payments?since=${midnight()}&limit=500`, 'payments');
    this.payments = new Map([...rows.map((payment) => [payment.id, payment]), ...this.news]);
    this.draw();
  }

  /** Follows until end(); load() has succeeded once. */
  async follow() {
    const { signal } = this.ending;
    while (!signal.aborted) {
      try {
        // What happens while the list is fetched comes with the stream, which is opened first.
        await this.api.events(() => this.reload(), (event) => this.take(event), signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error.kind === 'key' || error.kind === 'scope') { this.onError(error); return; }
      }
      if (signal.aborted) return;
      this.reload();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  async reload() {
    try {
      await this.load();
      this.onReachable(true);
    } catch (error) {
      if (error.kind === 'key' || error.kind === 'scope') this.onError(error);
      else if (!this.ending.signal.aborted) this.onReachable(error.kind !== 'away');
    }
  }

  take({ payment }) {
    if (!payment) return;
    for (const map of [this.payments, this.news]) map.set(payment.id, payment);
    this.draw();
  }

  draw() {
    const from = midnight();
    const today = [...this.payments.values()].filter((payment) => payment.received >= from)
      .sort((a, b) => b.received - a.received);
    $('none').hidden = today.length > 0;
    $('sums').replaceChildren(...sumsOf(today).map(sumRow));
    $('payments').replaceChildren(...today.slice(0, SHOWN_MAX).map(paymentRow));
    $('more').hidden = today.length <= SHOWN_MAX;
    write($('more'), text('newestOnly', { n: SHOWN_MAX }));
  }
}

/** One row for each asset: what came in less what went back, how many payments, what went back. */
export function sumsOf(payments) {
  const sums = new Map();
  for (const payment of payments) {
    const sum = sums.get(payment.asset.address) ?? { asset: payment.asset, units: 0n, count: 0, refunded: 0n };
    const refunded = refundOf(payment);
    sum.units += BigInt(payment.amount_units) - refunded;
    sum.refunded += refunded;
    sum.count++;
    sums.set(payment.asset.address, sum);
  }
  return [...sums.values()];
}

function element(name, className, ...content) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...content); // text stays text
  return made;
}

function sumRow({ asset, units, count, refunded }) {
  const notes = [count === 1 ? text('countOne') : text('count', { n: count })];
  if (refunded > 0n) notes.push(text('refundedSum', { amount: amountText(refunded, asset) }));
  return element('li', '', element('span', 'total', amountText(units, asset)), ' ', element('span', 'hint', notes.join(' · ')));
}

function paymentRow(payment) {
  const refunded = refundOf(payment), units = BigInt(payment.amount_units);
  const row = element('li', refunded >= units ? 'returned' : '',
    element('time', 'hint', clockText(payment.received)), ' ',
    element('span', 'what', payment.memo ?? ''), ' ',
    element('span', 'much', amountText(units, payment.asset)));
  if (refunded > 0n) {
    row.append(' ', element('span', 'back', refunded >= units ? text('refunded')
      : text('partlyRefunded', { amount: amountText(refunded, payment.asset) })));
  }
  return row;
}
