// One channel as its client sees it (protocol.md, sections 2 and 3): two streams of balance proofs, what each side has
// available, and the judgement of what the hub signs. It changes nothing by itself: what it returns is the stream as it
// will be, for the caller to keep.
import { createHash } from 'node:crypto';
import { conditionOfAttestation, rootOf, treeOf } from './protocol.mjs';
import { ethers } from './twins.mjs';
import {
  AMOUNT_LIMIT, CANCEL, EXPIRE, LOCK, PAY, REFUND, Refusal, UNLOCK, isSignedBy, pack, readBody, sign,
} from './wire.mjs';

const PLACES = 1024n;
export const [NONE, OPEN, CLOSING, CLOSED] = [0n, 1n, 2n, 3n];

export const sha256 = (bytes) => '0x' + createHash('sha256').update(ethers.getBytes(bytes)).digest('hex');
export const refuseIf = (isBroken, code, text) => { if (isBroken) throw new Refusal(code, text); };
const sumOf = (drops) => drops.reduce((total, drop) => total + drop.amount, 0n);
/** What a stream's sender has parted with; frozen locks (dropped, not revoked yet) are not its own again. */
const debtOf = (stream) => stream.transferred + stream.locked + sumOf(stream.drops);
const PROOF = ['nonce', 'transferred', 'locked', 'locksRoot', 'bodyHash'];
const leafOf = ({ id, amount, expiry, kind, condition }) => [id, amount, expiry, kind, condition];
const proofOf = (channel, stream) => ({ channel, ...Object.fromEntries(PROOF.map((name) => [name, stream[name]])) });

export const newStream = () => ({
  nonce: 0n, transferred: 0n, locked: 0n, locksRoot: ethers.ZeroHash, bodyHash: ethers.ZeroHash, signature: '0x',
  lastLock: 0n, locks: {}, drops: [], revoked: null,
});

export class Channel {
  /** options: id, domain, hub, state; nextView, registeredAt: what the client's own node says (client.mjs). */
  constructor(options) {
    Object.assign(this, options, { view: null, told: null, terms: null });
  }

  /** What a side can spend by these funds. What a settlement takes out is counted until the funds show it settled. */
  available(isClient, { total, base, seq }) {
    const { own, hub, settlement } = this.state;
    const out = settlement && seq < settlement.seq ? settlement : { clientOut: 0n, hubOut: 0n };
    const balance = base - own.transferred + hub.transferred;
    if (!isClient) return total - balance - hub.locked - sumOf(hub.drops) - out.hubOut;
    const reserve = base > 0n ? base * this.terms.reserveBps / 10000n : 0n;
    return balance - own.locked - sumOf(own.drops) - out.clientOut - reserve;
  }

  /** A deposit counts once one's own node and the hub both show it. */
  get spendable() {
    if (!this.view || !this.told || !this.terms) return 0n;
    const [seen, said] = [this.view, this.told].map((funds) => this.available(true, funds));
    return seen < said ? seen : said;
  }

  get balance() { return this.view.base - this.state.own.transferred + this.state.hub.transferred; }

  /** Nothing pending: what a close by agreement asks for. */
  get isAtRest() {
    const { own, hub, kept } = this.state;
    return kept.length === 0 && [own, hub].every(({ locks, drops }) => Object.keys(locks).length + drops.length === 0);
  }

  /** The next ids whose places in the tree are free. */
  * freeLockIds() {
    const taken = new Set(Object.values(this.state.own.locks).map(({ id }) => id % PLACES));
    for (let id = this.state.own.lastLock + 1n; taken.size < PLACES; id++) {
      if (taken.has(id % PLACES)) continue;
      taken.add(id % PLACES);
      yield id;
    }
  }

  /** A stream after one more update with these operations, and the lock that each touched. */
  async apply(stream, operations, body) {
    const next = { ...structuredClone(stream), nonce: stream.nonce + 1n, bodyHash: ethers.keccak256(body) };
    const touched = [];
    for (const operation of operations) touched.push(await this.applyOne(next, operation));
    next.locksRoot = rootOf(treeOf(Object.values(next.locks).map(leafOf)));
    return { next, touched };
  }

  async applyOne(next, [type, ...fields]) {
    const move = (amount) => {
      next.transferred += amount;
      refuseIf(next.transferred >= AMOUNT_LIMIT, 'TRANSFERRED', 'the sum is too large');
    };
    if (type === PAY) return move(fields[2] + fields[3]);
    if (type === REFUND) return move(fields[1]);
    if (type === LOCK) return this.addLock(next, fields);
    const lock = next.locks[fields[0]];
    refuseIf(!lock, 'NO_LOCK', `no lock ${fields[0]} is pending`);
    if (type === UNLOCK) {
      refuseIf(!await this.isMet(lock, fields[1]), 'WITNESS', 'the witness does not meet the condition');
      move(lock.amount);
    } else {
      if (type === CANCEL) refuseIf(!lock.isFailed, 'NOT_FAILED', 'its receiver has not failed it');
      else refuseIf(!await this.isExpired(lock), 'NOT_EXPIRED', 'the lock has not expired, or was registered in time');
      next.drops.push({ nonce: next.nonce, amount: lock.amount });
    }
    delete next.locks[lock.id];
    next.locked -= lock.amount;
    return lock;
  }

  addLock(next, [payment, , id, amount, fee, expiry, kind, condition]) {
    refuseIf(kind > 1n, 'BODY', 'no such kind of lock');
    const isTaken = Object.values(next.locks).some((lock) => lock.id % PLACES === id % PLACES);
    refuseIf(id <= next.lastLock || isTaken, 'LOCK_ID', 'the id does not grow, or its place is taken');
    next.locks[id] = { id, amount: amount + fee, expiry, kind, condition, payment, isFailed: false };
    next.lastLock = id;
    next.locked += amount + fee;
    refuseIf(next.locked >= AMOUNT_LIMIT, 'LOCKED', 'the sum is too large');
    return next.locks[id];
  }

  async isRegistered(lock) {
    const at = await this.registeredAt(lock.kind, lock.condition);
    return at > 0n && at <= lock.expiry;
  }

  async isMet(lock, witness) {
    if (witness === '0x') { // a registration on the ledger, which one's own node may still have to see
      while (!await this.isRegistered(lock) && this.view.now <= lock.expiry) await this.nextView();
      return this.isRegistered(lock);
    }
    if (lock.kind === 0n) return ethers.dataLength(witness) === 32 && sha256(witness) === lock.condition;
    if (ethers.dataLength(witness) !== 116) return false;
    const [attester, eventId, signature] = [[0, 20], [20, 52], [52, 116]].map((at) => ethers.dataSlice(witness, ...at));
    return conditionOfAttestation(attester, eventId) === lock.condition
      && isSignedBy(attester, this.domain, 'Attestation', { eventId }, signature);
  }

  async isExpired(lock) {
    while (this.view.now <= lock.expiry && lock.expiry - this.view.now < this.terms.revealMargin) await this.nextView();
    return this.view.now > lock.expiry && !await this.isRegistered(lock);
  }

  /** The hub's stream as this update makes it, its operations and the locks they touched; null: it is here already. */
  async judge([nonce, transferred, locked, locksRoot, body, signature]) {
    const { hub } = this.state;
    while (this.view.status === NONE && this.told.status === OPEN) await this.nextView();
    refuseIf(this.view.status !== OPEN, 'STATUS', 'the channel is not open');
    const shown = { nonce, transferred, locked, locksRoot, bodyHash: ethers.keccak256(body), signature };
    if (nonce > 0n && Object.keys(shown).every((name) => shown[name] === hub[name])) return null;
    refuseIf(nonce !== hub.nonce + 1n, 'NONCE', `the next nonce is ${hub.nonce + 1n}, not ${nonce}`);
    const operations = readBody(body);
    const isGood = isSignedBy(this.hub, this.domain, 'BalanceProof', proofOf(this.id, shown), signature);
    refuseIf(!isGood, 'SIGNATURE', 'not the hub’s signature');
    const { next, touched } = await this.apply(hub, operations, body);
    refuseIf(next.transferred !== transferred, 'TRANSFERRED', `the operations make it ${next.transferred}`);
    refuseIf(next.locked !== locked, 'LOCKED', `the operations make it ${next.locked}`);
    refuseIf(next.locksRoot !== locksRoot, 'ROOT', 'the locks make another root');
    // More than the hub has is refused; more than one's own node shows yet, but not more than the hub has said, waits.
    const fall = debtOf(next) - debtOf(hub);
    const isCovered = (funds) => fall <= 0n || this.available(false, funds) >= fall;
    while (!isCovered(this.view) && isCovered(this.told)) await this.nextView();
    refuseIf(!isCovered(this.view), 'AVAILABLE', 'the hub does not have that much');
    return { next: { ...next, signature }, operations, touched };
  }

  /** Our stream after these operations, signed, and the fields of the UPDATE that says so. */
  async next(signer, operations) {
    const body = ethers.hexlify(pack(operations));
    const { next } = await this.apply(this.state.own, operations, body);
    next.signature = await sign(signer, this.domain, 'BalanceProof', proofOf(this.id, next));
    return { next, update: [this.id, next.nonce, next.transferred, next.locked, next.locksRoot, body, next.signature] };
  }
}
