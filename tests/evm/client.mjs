// A Rill wallet in JavaScript: one channel with a hub, opened, paid from, paid into and settled, with any signer of
// ethers. It is a test of the protocol (client_test.mjs) and an example for whoever writes a wallet: docs/own-wallet.md
// goes through it. It leaves out watchtowers, disputes, and coming back from a lost file.
//
//     out, direct:  waiting ─UPDATE─▶ sent ─REVEAL─▶ paid
//                                     sent ─refund─▶ failed
//     out, locked:  waiting ─UPDATE─▶ sent ─REVEAL─▶ unlocking ─UPDATE─▶ paid
//                        sent ─FAIL, time─▶ cancelling, expiring ─UPDATE─▶ dropped ─REVOKE─▶ failed
//     in, direct:   received, or refunded
//     in, locked:   revealed ─unlock─▶ received; or failed ─cancel─▶ dropped; expire ends either
import { randomBytes } from 'node:crypto';
import { OPEN, refuseIf, sha256 } from './channel.mjs';
import { Settlements } from './settlements.mjs';
import { ethers } from './twins.mjs';
import * as wire from './wire.mjs';
import { CANCEL, CODES, EXPIRE, LOCK, PAY, REFUND, Refusal, UNLOCK } from './wire.mjs';

const WINDOW = 64, OPERATIONS_AT_ONCE = 100, MILLION = 1_000_000n;
const TOKEN_ABI = ['function approve(address spender, uint256 amount) returns (bool)'];
const least = (...values) => values.reduce((a, b) => (a < b ? a : b));

export class Wallet extends Settlements {
  handlers = {
    [wire.UPDATE]: this.onUpdate, [wire.ACK]: this.onAck, [wire.REVEAL]: this.onReveal, [wire.FAIL]: this.onFail,
    [wire.REVOKE]: this.onRevoke, [wire.SETTLE_PROPOSE]: this.onPropose, [wire.SETTLED]: this.onSettled,
    [wire.FUNDED]: this.onFunded, [wire.LOCKS]: this.onLocks,
  };
  openRefused = null;
  registering = new Set();

  get balance() { return this.channel.balance; }
  get spendable() { return this.channel.spendable; }

  // ---- what a person asks for

  /** Puts one's own money into the channel; opens it. */
  async deposit(amount) {
    const isCoin = this.asset === ethers.ZeroAddress, value = amount * await this.contract.unit(this.asset);
    const token = new ethers.Contract(this.asset, TOKEN_ABI, this.contract.runner);
    if (!isCoin) await (await token.approve(this.domain.verifyingContract, value)).wait();
    const before = this.channel.told?.base ?? 0n;
    await (await this.contract.deposit(this.key, amount, { value: isCoin ? value : 0n })).wait();
    await this.until(() => this.isInStep && least(this.channel.told.base, this.channel.view.base) >= before + amount);
  }

  /** Asks the hub for room to receive. */
  async open(inbound) {
    this.openRefused = null;
    await this.turn(() => this.say(wire.OPEN_REQUEST, this.asset, inbound));
    await this.until(() => {
      if (this.openRefused) throw this.openRefused;
      return this.isInStep && this.channel.view.status === OPEN;
    });
  }

  /** The text of an invoice; its secret is on disk before anybody can see it. */
  async invoice(amount, { memo = '', expiresS = 3600n } = {}) {
    const secret = ethers.hexlify(randomBytes(32)), secretHash = sha256(secret);
    const expiry = this.channel.view.now + expiresS;
    await this.turn(() => { this.state.invoices[secretHash] = { secret, amount, expiry, paidBy: null }; });
    const invoice = { payee: this.client, asset: this.asset, amount, secretHash, expiry, memo: { text: memo } };
    return wire.writeInvoice(this.signer, this.domain, `${this.host}:${this.port}`, invoice);
  }

  /** Pays; gives the receipt, or throws why not. `isLocked` false, true, or as the hub's direct limit has it. */
  async pay(text, options = {}) {
    const invoice = wire.readInvoice(text, this.domain);
    const id = await this.turn(() => this.startPayment(invoice, options));
    return this.until(() => {
      const { state, code, secret } = this.state.payments[id];
      refuseIf(state === 'failed', code, 'the payment failed; the money is back');
      return secret;
    });
  }

  startPayment({ payee, asset, amount: asked, secretHash, expiry, memo }, { amount = asked, isLocked = null }) {
    const { channel: { terms, view, spendable }, state: { payments } } = this;
    refuseIf(!this.isInStep, 'OFFLINE', 'connect first');
    refuseIf(asset !== this.asset, 'CHANNEL', 'the invoice is in another asset');
    refuseIf(payee === this.client, 'PAYEE', 'the invoice is one’s own');
    refuseIf(view.now > expiry, 'EXPIRED', 'the invoice has expired');
    refuseIf(amount === 0n || (asked !== 0n && amount !== asked), 'AMOUNT', 'not the amount of the invoice');
    const earlier = Object.values(payments).find((one) => one.secretHash === secretHash && one.state !== 'failed');
    refuseIf(earlier, 'PAID', 'one secret is never paid twice');
    const locked = isLocked ?? amount >= terms.directLimit;
    refuseIf(locked && (amount < terms.minLock || amount > terms.maxLock), 'AMOUNT', 'the hub locks no such amount');
    const fee = terms.baseFee + (amount * terms.feePpm + MILLION - 1n) / MILLION;
    refuseIf(amount + fee > spendable, 'AVAILABLE', `${spendable} can be spent`);
    const atRisk = Object.values(payments).filter((one) => !one.isLocked && ['waiting', 'sent'].includes(one.state))
      .reduce((total, one) => total + one.amount + one.fee, 0n);
    const limit = this.maxUnsecured ?? 16n * terms.directLimit;
    refuseIf(!locked && atRisk + amount + fee > limit, 'LIMIT', `at most ${limit} may be on its way without a receipt`);
    // Within the terms, and a little more: the hub's view of the time is not quite one's own.
    const slack = least((terms.maxExpiry - terms.minExpiry) / 4n, 60n);
    const longest = least(expiry, view.now + terms.maxExpiry - slack), shortest = view.now + terms.minExpiry + slack;
    const id = ethers.hexlify(randomBytes(16));
    const payment = { id, payee, amount, fee, secretHash, memo, isLocked: locked };
    payments[id] = { ...payment, state: 'waiting', expiry: longest < shortest ? shortest : longest };
    return id;
  }

  // ---- our stream

  /** Signs what is due as one update. One nonce is signed once: kept, and sent again as it is until acknowledged. */
  async signDue() {
    const due = this.due().slice(0, OPERATIONS_AT_ONCE);
    if (due.length === 0 || this.state.kept.length >= WINDOW) return false;
    const { next, update } = await this.channel.next(this.signer, due.map(([operation]) => operation));
    for (const [, then] of due) then(next.nonce);
    this.state.own = next;
    this.state.kept.push(update);
    this.say(wire.UPDATE, ...update);
    return true;
  }

  /** The operations that wait for a signature, and what becomes of each then. */
  due() {
    const { state: { refunds, payments }, channel } = this;
    const lockIds = channel.freeLockIds(), due = [];
    let room = channel.spendable;
    const fits = (amount) => { if (amount > room) return false; room -= amount; return true; };
    for (const refund of refunds)
      if (fits(refund[1])) due.push([[REFUND, ...refund], () => refunds.splice(refunds.indexOf(refund), 1)]);
    for (const payment of Object.values(payments)) {
      const { state, id, payee, amount, fee, expiry, secretHash, memo, isLocked, secret = '0x' } = payment;
      const becomes = (values) => (nonce) => Object.assign(payment, { nonce, ...values });
      if (state === 'waiting') {
        const lockId = isLocked ? lockIds.next().value : null;
        if (lockId === undefined) continue; // 1,024 locks are pending
        const operation = isLocked ? [LOCK, id, payee, lockId, amount, fee, expiry, 0n, secretHash, memo]
          : [PAY, id, payee, amount, fee, expiry, secretHash, memo];
        if (fits(amount + fee)) due.push([operation, becomes({ state: 'sent', lockId })]);
        else Object.assign(payment, { state: 'failed', code: 'AVAILABLE' });
      }
      if (state === 'unlocking') due.push([[UNLOCK, payment.lockId, secret], becomes({ state: 'paid' })]);
      if (state === 'cancelling') due.push([[CANCEL, payment.lockId], becomes({ state: 'dropped' })]);
      if (state === 'expiring') due.push([[EXPIRE, payment.lockId], becomes({ state: 'dropped' })]);
    }
    return due;
  }

  onAck(nonce) {
    refuseIf(nonce > this.state.own.nonce, 'NONCE', 'never signed');
    this.state.kept = this.state.kept.filter((update) => update[1] > nonce);
  }

  onReveal(items) {
    for (const [id, secret] of items) {
      const payment = this.state.payments[id];
      if (payment?.state !== 'sent') continue;
      const isGood = ethers.dataLength(secret) === 32 && sha256(secret) === payment.secretHash;
      refuseIf(!isGood, 'WITNESS', 'not the secret of this payment');
      Object.assign(payment, { secret, state: payment.isLocked ? 'unlocking' : 'paid' });
    }
  }

  onFail(items) {
    for (const [id, code] of items) {
      const payment = this.state.payments[id];
      if (payment?.state !== 'sent' || !payment.isLocked) continue;
      Object.assign(payment, { state: 'cancelling', code: wire.codeName(code) });
      this.state.own.locks[payment.lockId].isFailed = true;
    }
  }

  /** The hub's promise that old proofs' dropped locks are void: only now is their money ours again. */
  onRevoke(minNonce, signature) {
    const { own, payments } = this.state;
    if (own.revoked && minNonce <= own.revoked[0]) return;
    refuseIf(minNonce > own.nonce, 'NONCE', 'above the newest nonce');
    const promise = { channel: this.channel.id, minNonce };
    const isGood = wire.isSignedBy(this.hub, this.domain, 'Revocation', promise, signature);
    refuseIf(!isGood, 'SIGNATURE', 'not the hub’s signature');
    own.revoked = [minNonce, signature];
    own.drops = own.drops.filter(({ nonce }) => nonce > minNonce);
    for (const payment of Object.values(payments)) {
      const { state, nonce, code = 'EXPIRED' } = payment;
      if (state === 'dropped' && nonce <= minNonce) Object.assign(payment, { state: 'failed', code });
    }
  }

  // ---- the hub's stream

  async onUpdate(...update) {
    const judged = await this.channel.judge(update); // throws the rule it breaks; then nothing has changed
    if (judged) {
      this.state.hub = judged.next;
      judged.operations.forEach((operation, i) => this.arrived(operation, judged.touched[i]));
    }
    const { hub } = this.state;
    this.say(wire.ACK, this.channel.id, hub.nonce);
    if (hub.drops.length === 0) return;
    const promise = { channel: this.channel.id, minNonce: hub.nonce };
    hub.revoked = [hub.nonce, await wire.sign(this.signer, this.domain, 'Revocation', promise)];
    hub.drops = [];
    this.say(wire.REVOKE, this.channel.id, ...hub.revoked);
  }

  arrived([type, ...fields], lock) {
    const { payments, received } = this.state;
    if (type === PAY) return this.arrivedPayment([fields[0], fields[2], fields[4], fields[5], fields[6]], null);
    if (type === LOCK) return this.arrivedPayment([fields[0], fields[3], fields[5], fields[7], fields[8]], lock);
    if (type === REFUND) {
      const [id, amount, code] = fields, payment = payments[id];
      if (payment?.state === 'sent' && !payment.isLocked && amount === payment.amount + payment.fee)
        Object.assign(payment, { state: 'failed', code: wire.codeName(code) });
      return undefined;
    }
    const one = received[lock.payment];
    if (type === UNLOCK && one?.state === 'revealed') this.news.push(['received', one]);
    if (['revealed', 'failed'].includes(one?.state)) one.state = type === UNLOCK ? 'received' : 'dropped';
    return undefined;
  }

  /** Money for an invoice is answered with its secret; anything else is sent back, never refused. */
  arrivedPayment([id, amount, expiry, secretHash, memo], lock) {
    const { received, invoices, refunds } = this.state;
    const first = received[id], invoice = invoices[secretHash];
    const code = first ? 'DUPLICATE' : this.wrongWith(invoice, amount, lock);
    if (code === null) {
      invoice.paidBy = id;
      const { secret } = invoice, state = lock ? 'revealed' : 'received';
      received[id] = { state, secretHash, secret, amount, expiry, memo, isLocked: !!lock };
      this.say(wire.REVEAL, this.channel.id, [[id, secret]]);
      if (!lock) this.news.push(['received', received[id]]);
      return;
    }
    // Said of this id it would be said of the first lock, which is still pending: this one runs out.
    if (lock && ['revealed', 'failed'].includes(first?.state)) return;
    if (lock) {
      lock.isFailed = true;
      this.say(wire.FAIL, this.channel.id, [[id, BigInt(CODES[code])]]);
    } else {
      refunds.push([id, amount, BigInt(CODES[code])]);
    }
    received[id] ??= { state: lock ? 'failed' : 'refunded', code: BigInt(CODES[code]), amount };
    if (first?.secret) this.say(wire.REVEAL, this.channel.id, [[id, first.secret]]);
  }

  wrongWith(invoice, amount, lock) {
    const { view, terms } = this.channel;
    if (!invoice || (lock && lock.kind !== 0n)) return 'INVOICE';
    if (invoice.paidBy) return 'PAID';
    if (amount === 0n || (invoice.amount !== 0n && amount !== invoice.amount)) return 'AMOUNT';
    const isLate = view.now > invoice.expiry || (lock && view.now + 2n * terms.revealMargin >= lock.expiry);
    return isLate ? 'EXPIRED' : null;
  }

  // ---- the ledger

  /** What follows from the ledger and its time. */
  async onView() {
    const { state, channel: { view, terms } } = this;
    for (const payment of Object.values(state.payments)) { // the hub neither failed nor unlocked it
      if (payment.state !== 'sent' || !payment.isLocked || view.now <= payment.expiry) continue;
      payment.state = await this.channel.isRegistered(state.own.locks[payment.lockId]) ? 'unlocking' : 'expiring';
    }
    for (const one of Object.values(state.received)) { // shown its secret, not unlocked: the ledger is where it counts
      const isLate = terms && view.now + terms.revealMargin >= one.expiry && view.now <= one.expiry;
      if (one.state !== 'revealed' || !isLate || this.registering.has(one.secret)) continue;
      this.registering.add(one.secret);
      this.contract.registerSecret(one.secret).catch((error) => {
        this.registering.delete(one.secret);
        this.emit('trouble', error);
      });
    }
    this.followSettlement();
  }

  onError(code, text, isFatal, reference) {
    const error = new Refusal(wire.codeName(code), `the hub says: ${text.text}`);
    if (isFatal) throw error;
    if (reference[0] === BigInt(wire.SETTLE_REQUEST)) this.endWish(error);
    if (reference[0] === BigInt(wire.OPEN_REQUEST)) this.openRefused = error;
    this.news.push(['refused', error, reference]);
  }
}
