// kill -9 at any moment: no invoice that was answered for is lost, no payment goes unreported, none is counted twice, a
// repeated request does nothing a second time, a refund is paid once, a payout is made once.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { openSync, readSync, writeSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { Desk } from './desk.mjs';
import { Receiver } from './receiver.mjs';

const ROUNDS = Number(process.env.RILL_CRASHES ?? 12);
let seed = Number(process.env.RILL_CRASH_SEED ?? 7);
/** The same draws for the same seed. */
const below = (limit) => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed % limit;
};

let desk, shop, receiver;
before(async () => {
  desk = await Desk.open();
  receiver = await new Receiver().open();
  shop = await desk.merchant('shop', ['--webhook-allow', '127.0.0.1', '--rate-per-s', '1000', '--rate-burst', '1000']);
  await shop.connected();
  await shop.must('POST', '/v1/webhooks', { url: receiver.url });
});
after(async () => {
  receiver?.close();
  await desk?.stop();
});

const answered = new Map(); // Idempotency-Key: the invoice
const paid = new Set(); // ids of invoices whose payer has the receipt

/** Creates until the server is gone, then the same wishes once more. */
async function create(round) {
  const wishes = Array.from({ length: 6 }, (_, i) => `round ${round}, ${i}`);
  const wish = (name) => shop.must('POST', '/v1/invoices', { amount: '1', external_id: name }, { headers: { 'idempotency-key': name } });
  const killed = new Promise((resolve) => setTimeout(resolve, below(60))).then(() => shop.kill());
  const first = await Promise.allSettled(wishes.map(wish));
  await killed;
  await shop.start();
  await shop.connected();
  for (const [i, name] of wishes.entries()) {
    const invoice = await wish(name);
    if (first[i].status === 'fulfilled') assert.deepEqual(invoice, first[i].value);
    answered.set(name, invoice);
  }
  const known = await shop.must('GET', '/v1/invoices?limit=500');
  for (const name of wishes) assert.equal(known.invoices.filter((one) => one.external_id === name).length, 1, name);
  return answered.get(wishes[0]);
}

test('killed while invoices are made and paid', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const invoice = await create(round);
    const pay = () => desk.pay(invoice, '--mode', round % 2 === 0 ? 'direct' : 'locked', '--timeout-s', '100');
    // A locked payment is not kept for a payee who is away: it fails, and the customer tries again.
    const paying = pay().then(() => true, (error) => {
      assert.match(error.message, /OFFLINE/);
      return false;
    });
    await new Promise((resolve) => setTimeout(resolve, below(500)));
    await shop.kill();
    await shop.start();
    if (!await paying) {
      await shop.connected();
      await pay();
    }
    paid.add(invoice.id);
    await shop.paid(invoice.id);
  }
  const { payments } = await shop.must('GET', '/v1/payments?limit=500');
  assert.deepEqual(new Set(payments.map(({ invoice }) => invoice)), paid);
  assert.equal(payments.length, paid.size);
  const { history } = await shop.must('GET', '/v1/history?limit=500');
  assert.deepEqual(history.map(({ id }) => id).sort(), payments.map(({ id }) => id).sort());
  const told = await receiver.until('every payment is told', (events) =>
    payments.every(({ id }) => events.some(({ type, payment }) => type === 'payment.received' && payment.id === id)));
  // Twice is allowed, under the same event's id.
  for (const { id } of payments) {
    const names = new Set(told.filter((event) => event.payment?.id === id && event.type === 'payment.received').map((event) => event.id));
    assert.equal(names.size, 1, id);
  }
});

test('killed while a refund is sent', async () => {
  const { payments } = await shop.must('GET', '/v1/payments?limit=500');
  for (const [round, payment] of payments.slice(0, 4).entries()) {
    const text = await desk.customerInvoice('0.2');
    const wish = () => shop.must('POST', `/v1/payments/${payment.id}/refund`, { invoice: text }, { headers: { 'idempotency-key': `refund ${round}` } });
    const killed = new Promise((resolve) => setTimeout(resolve, below(40))).then(() => shop.kill());
    await wish().catch(() => {});
    await killed;
    await shop.start();
    await shop.connected();
    await wish();
    const { refunds } = await shop.until('the refund', `/v1/payments/${payment.id}`, ({ refunds: all }) => all.every(({ state }) => state === 'paid'));
    assert.equal(refunds.length, 1);
    assert.equal(refunds[0].amount, '0.2');
  }
  await desk.hangUp();
  // What ada's wallet says: each of the refunds came, once.
  const { payments: hers } = JSON.parse(await desk.command('ada', ['history', '--json', '--direction', 'in']));
  assert.equal(hers.filter(({ state }) => state === 'received').length, 4);
});

/** The faults that stand between the shop's server and its disk (tests/faults/faults.h). */
class Faults {
  constructor(folder) {
    this.file = openSync(join(folder, 'faults'), 'w+');
    writeSync(this.file, Buffer.alloc(56), 0, 56, 0);
    const library = join(process.cwd(), 'build/faults/libfaults.so');
    this.environment = { LD_PRELOAD: library, RILL_FAULTS: join(folder, 'faults'), ASAN_OPTIONS: 'verify_asan_link_order=0' };
  }

  number(value, at) { writeSync(this.file, new BigUint64Array([BigInt(value)]), 0, 8, at); }

  /** SIGKILL right after the n-th sync of a journal from now on; 0: no more. */
  killAfterSync(n) {
    const SYNC = 1n, KILL_AFTER = 5n, calls = new BigUint64Array(1);
    this.number(0, 24);
    readSync(this.file, calls, 0, 8, 8);
    this.number((KILL_AFTER << 32n) | SYNC, 32);
    this.number(n === 0 ? 0n : calls[0] + BigInt(n), 24);
  }

  /** A server that starts behind them. */
  async start(merchant) {
    const before = Object.keys(this.environment).map((name) => [name, process.env[name]]);
    Object.assign(process.env, this.environment);
    const started = merchant.start();
    for (const [name, value] of before)
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    await started;
    await merchant.connected();
  }
}

test('killed after each sync of a payout: one payout for its key', async () => {
  const SYNCS = 4, faults = new Faults(desk.folder);
  const payouts = async () => (await shop.must('GET', '/v1/payouts')).payouts;
  const atRest = () => shop.until('no payout under way', '/v1/balance', ({ balances }) => balances.every((one) => one.settling_units === '0'));
  for (let n = 1; n <= SYNCS; n++) {
    await shop.running.stop();
    await faults.start(shop);
    await atRest();
    const wish = () => shop.must('POST', '/v1/payouts', { amount: '0.1' }, { headers: { 'idempotency-key': `payout ${n}` } });
    const ended = once(shop.running.process, 'exit');
    faults.killAfterSync(n);
    await wish().catch(() => {});
    await ended; // a later sync is the wallet's, when the payout has settled
    faults.killAfterSync(0);
    await shop.start();
    await shop.connected();
    await wish();
    await atRest();
    const all = await shop.until('the payout has ended', '/v1/payouts', (list) => list.payouts.every(({ state }) => state !== 'pending')).then(payouts);
    assert.deepEqual(all.map(({ origin }) => origin), Array(n).fill('request'), `after sync ${n}: ${JSON.stringify(all)}`);
  }
});

test('the story can be read from any point of it', async () => {
  const all = [];
  for (let cursor = ''; cursor !== null;) {
    const page = await shop.must('GET', `/v1/history?limit=3${cursor && `&cursor=${cursor}`}`);
    all.push(...page.history);
    cursor = page.next;
  }
  assert.equal(all.filter(({ kind }) => kind !== 'payout').length, ROUNDS + 4);
  assert.deepEqual(all.map(({ time }) => time), all.map(({ time }) => time).sort((a, b) => a - b));
});
