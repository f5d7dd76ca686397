// Being paid out on the ledger: asked for, judged, signed, followed to its end (protocol.md, section 8).
import { CLOSED, NONE, OPEN, refuseIf } from './channel.mjs';
import { Connection } from './connection.mjs';
import * as wire from './wire.mjs';
import { Refusal } from './wire.mjs';

const SETTLED_FINAL = 0n, SETTLED_DEAD = 6n;

export class Settlements extends Connection {
  wish = null; // the settlement asked for

  /** Has the hub pay out on the ledger; with `close`, all of it, and the channel is closed. */
  async settle(amount, close = false) {
    const wish = { amount, close, isAsked: false, error: null, isOver: false };
    await this.turn(() => { this.wish = wish; this.askToSettle(); });
    await this.until(() => { if (wish.error) throw wish.error; return wish.isOver; });
  }

  /** Asks once, when it can be granted; after a proposal that was refused, again. */
  askToSettle() {
    const { wish, channel } = this;
    if (!wish || wish.isAsked || this.state.settlement || !this.isInStep || (wish.close && !this.isQuiet)) return;
    wish.isAsked = true;
    this.say(wire.SETTLE_REQUEST, channel.id, wish.amount, wish.close);
  }

  get isQuiet() { return this.channel.isAtRest && this.due().length === 0; }

  endWish(error) {
    Object.assign(this.wish ?? {}, { error, isOver: true });
    this.wish = null;
  }

  onFunded(total, base, seq) {
    const { told } = this.channel;
    if (told) this.channel.told = { total, base, seq, status: told.status === NONE ? OPEN : told.status };
  }

  async onPropose(seq, clientOut, hubOut, deadline, close) {
    const { channel, channel: { id, view, terms }, wish, state } = this;
    const item = { channel: id, seq, clientOut, hubOut, deadline, close };
    const isSame = state.settlement && Object.keys(item).every((name) => item[name] === state.settlement[name]);
    const wanted = wish && !wish.close ? wish.amount : 0n;
    const has = (isClient, out) => out === 0n || channel.available(isClient, view) >= out;
    const isNext = !state.settlement && view.status === OPEN && seq === view.seq + 1n;
    const isTimely = deadline > view.now && deadline - view.now <= terms.settleWindow;
    const isFair = close
      ? wish?.close && this.isQuiet && clientOut === channel.balance && hubOut <= view.total - clientOut
      : (clientOut === wanted || clientOut === 0n) && has(true, clientOut) && has(false, hubOut);
    const isGood = isSame || (isNext && isTimely && isFair);
    if (wish && !isGood) wish.isAsked = false;
    refuseIf(!isGood, 'SETTLE', 'not asked for, or not possible now');
    if (!isSame) {
      const signature = await wire.sign(this.signer, this.domain, 'Settlement', item);
      state.settlement = { ...item, signature, isSaidDead: false };
    }
    this.say(wire.SETTLE_SIGN, id, seq, state.settlement.signature);
  }

  async onSettled(seq, outcome) {
    const { channel, state: { settlement } } = this;
    if (settlement?.seq !== seq) return;
    if (outcome === SETTLED_DEAD) settlement.isSaidDead = true;
    if (outcome === SETTLED_FINAL && channel.told.seq < seq) {
      const { total, base } = channel.told, out = settlement.clientOut + settlement.hubOut;
      channel.told = settlement.close ? { total: 0n, base: 0n, seq, status: CLOSED }
        : { total: total - out, base: base - settlement.clientOut, seq, status: OPEN };
    }
    await this.onView();
  }

  followSettlement() {
    this.askToSettle();
    const { settlement } = this.state, { view, told } = this.channel;
    if (!settlement || !told) return;
    const isSettled = view.seq >= settlement.seq && told.seq >= settlement.seq;
    if (isSettled || (view.now > settlement.deadline && view.seq < settlement.seq && settlement.isSaidDead)) {
      this.state.settlement = null;
      const isAskedFor = this.wish && (settlement.close || settlement.clientOut > 0n);
      if (isAskedFor) this.endWish(isSettled ? null : new Refusal('SETTLE', 'not settled before its deadline'));
    }
  }
}
