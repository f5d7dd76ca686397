// What keeps a wallet alive: its file, its view of the ledger, and its connection to the hub. Everything happens in
// turns, one at a time, and what a turn changed is on disk before any word of it leaves. client.mjs adds the money.
import { EventEmitter, once } from 'node:events';
import * as fs from 'node:fs';
import { dirname } from 'node:path';
import { Channel, newStream, refuseIf } from './channel.mjs';
import { channelId } from './protocol.mjs';
import { ethers } from './twins.mjs';
import * as wire from './wire.mjs';
import { Refusal } from './wire.mjs';

const OUTCOMES_AT_ONCE = 1000;
const KEY = 'tuple(address client, address asset, uint64 salt) key';
const HUB_ABI = [
  `function channel(${KEY}) view returns (uint64, int64, uint32, uint8)`,
  'function registeredAt(uint8 kind, bytes32 condition) view returns (uint64)',
  'function unit(address asset) view returns (uint128)',
  `function deposit(${KEY}, uint64 amount) payable`,
  'function registerSecret(bytes32 secret)',
];
/** kept: updates that the hub has not acknowledged; payments, invoices, received, refunds: see client.mjs. */
const newState = () => ({
  own: newStream(), hub: newStream(), kept: [], settlement: null, payments: {}, invoices: {}, received: {}, refunds: [],
});

export class Connection extends EventEmitter {
  /**
   * options: signer (any of ethers), provider (one's own node), domain (wire.domainOf), hub (its ledger address), host,
   * port, asset, file; and, with defaults, salt, confirmations, pollMs, maxUnsecured (16 times the hub's direct limit).
   */
  constructor(options) {
    super();
    Object.assign(this, { salt: 0n, confirmations: 3, pollMs: 500, maxUnsecured: null, ...options });
    this.hub = this.hub.toLowerCase();
    this.asset = this.asset.toLowerCase();
    this.client = this.signer.address.toLowerCase();
    this.key = [this.client, this.asset, this.salt];
    this.contract = new ethers.Contract(this.domain.verifyingContract, HUB_ABI, this.signer.connect(this.provider));
    this.state = fs.existsSync(this.file) ? this.load() : newState();
    this.channel = new Channel({
      id: channelId(this.key), domain: this.domain, hub: this.hub, state: this.state,
      nextView: () => this.nextView(),
      registeredAt: (...what) => this.contract.registeredAt(...what, { blockTag: this.channel.view.block }),
    });
    Object.assign(this, { socket: null, isInStep: false, outbox: [], news: [], last: Promise.resolve() });
    this.look();
  }

  // ---- turns: everything happens in one; what it changed is on disk before any of its words leaves

  turn(work) {
    const done = this.last.then(work).finally(() => this.commit());
    this.last = done.catch(() => {});
    return done;
  }

  async commit() {
    try {
      while (this.isInStep && await this.signDue());
    } catch (error) { // the signer did not sign: it stays due
      this.news.push(['trouble', error]);
    }
    this.save();
    for (const message of this.outbox.splice(0)) this.socket?.write(wire.frame(message));
    for (const news of this.news.splice(0)) this.emit(...news);
    this.emit('turn');
  }

  say(type, ...fields) { if (this.socket) this.outbox.push([type, ...fields]); }

  save() {
    const text = JSON.stringify(this.state, (_, value) => (typeof value === 'bigint' ? { $: `${value}` } : value));
    if (text === this.saved) return;
    const sync = (path, flags, bytes) => {
      const descriptor = fs.openSync(path, flags, 0o600);
      if (bytes) fs.writeFileSync(descriptor, bytes);
      fs.fsyncSync(descriptor);
      fs.closeSync(descriptor);
    };
    sync(`${this.file}.new`, 'w', text);
    fs.renameSync(`${this.file}.new`, this.file);
    sync(dirname(this.file), 'r');
    this.saved = text;
  }

  load() { return JSON.parse(fs.readFileSync(this.file, 'utf8'), (_, value) => (value?.$ ? BigInt(value.$) : value)); }

  /** Looks after each turn until there is something; what `find` throws is thrown. */
  async until(find) {
    for (;;) {
      const found = find();
      if (found) return found;
      await once(this, 'turn');
    }
  }

  // ---- the ledger, as one's own node sees it

  async look() {
    try {
      const block = await this.provider.getBlockNumber() - this.confirmations;
      const [total, base, seq, status] = await this.contract.channel(this.key, { blockTag: block });
      const { timestamp } = await this.provider.getBlock(block);
      this.channel.view = { block, total, base, seq, status, now: BigInt(timestamp) };
      this.emit('view');
      this.turn(() => this.onView()).catch((error) => this.emit('trouble', error));
    } catch (error) { // the node is away, or the contract is not that old yet
      this.emit('trouble', error);
    }
    if (!this.isStopped) this.timer = setTimeout(() => this.look(), this.pollMs);
  }

  async nextView() {
    const check = () => refuseIf(this.socket?.destroyed ?? true, 'OFFLINE', 'the connection ended meanwhile');
    check();
    await once(this, 'view');
    check();
  }

  // ---- connecting

  async connect() {
    await this.until(() => this.channel.view); // without the ledger nothing can be judged
    const { socket, frames, terms, channels } = await wire.openSession(this);
    const ours = terms.assets.find(([asset]) => asset === this.asset);
    if (!ours) socket.destroy();
    refuseIf(!ours, 'CHANNEL', 'the hub does not serve this asset');
    const [, baseFee, feePpm, directLimit, reserveBps, minLock, maxLock] = ours;
    this.channel.terms = {
      baseFee, feePpm, directLimit, reserveBps, minLock, maxLock, revealMargin: terms.reveal_margin_s,
      minExpiry: terms.min_expiry_s, maxExpiry: terms.max_expiry_s, settleWindow: terms.settle_window_s,
    };
    Object.assign(this, { socket, toShow: channels, locksToShow: 0, shown: null, isInStep: false, outbox: [] });
    this.reading = this.read(frames);
    await this.until(() => { refuseIf(!this.socket, 'OFFLINE', this.reason); return this.isAllShown; });
  }

  get isAllShown() { return this.toShow === 0 && this.locksToShow === 0; }

  async read(frames) {
    this.reason = 'the hub ended the connection';
    try {
      for await (const [type, ...fields] of frames) await this.turn(() => this.take(type, fields));
    } catch (error) {
      this.reason = error.message;
    }
    this.socket.destroy();
    Object.assign(this, { socket: null, isInStep: false });
    for (const name of ['view', 'turn', 'ended']) this.emit(name, this.reason); // whoever waits looks up
  }

  async disconnect() {
    this.socket?.destroy();
    this.emit('view'); // what waits for the ledger waits no more
    await this.reading;
  }

  async stop() {
    this.isStopped = true;
    clearTimeout(this.timer);
    await this.disconnect();
    await this.last;
  }

  async take(type, [channel, ...fields]) {
    if (type === wire.PING) return this.say(wire.PONG, channel);
    if (type === wire.ERROR) return this.onError(channel, ...fields);
    if (type === wire.CHANNEL) return this.onChannel(channel, ...fields);
    const handler = this.handlers[type];
    refuseIf(!handler, 'MALFORMED', `message ${type} is not one of a hub’s`);
    if (channel !== this.channel.id && type !== wire.LOCKS) return undefined; // this wallet has one channel
    try {
      return await handler.apply(this, fields);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.news.push(['refusal', error]);
      const number = typeof fields[0] === 'bigint' ? [fields[0]] : [];
      return this.say(wire.ERROR, wire.CODES[error.code], { text: error.message }, false, [type, channel, ...number]);
    }
  }

  onChannel(client, asset, salt, total, base, seq, status, settlement, [proof, , revocation], [hubsProof]) {
    if (this.toShow > 0) this.toShow--;
    this.locksToShow += [proof, hubsProof].filter(([, , locked]) => locked > 0n).length;
    if (channelId([client, asset, salt]) === this.channel.id) {
      const { own, hub, kept } = this.state;
      const [known = 0n] = proof, [signed = 0n] = hubsProof;
      const acknowledged = own.nonce - BigInt(kept.length), isOldCopy = known > own.nonce;
      if (isOldCopy) throw new Error('the hub has newer updates of ours: this file is an old copy, and must not go on');
      if (known < acknowledged || signed < hub.nonce) throw new Error('the hub has forgotten: close on the ledger');
      this.channel.told = { total, base, seq, status };
      this.shown = { known, revocation, settlement };
    }
    return this.resumeIfShown();
  }

  onLocks(stream, locks, isLast) { // of those that CHANNEL announced; this wallet has them on file
    if (isLast) this.locksToShow--;
    return this.resumeIfShown();
  }

  /** Says what is here, and again what the hub does not have or may not have heard. */
  async resumeIfShown() {
    if (this.isInStep || !this.shown || !this.isAllShown) return;
    const { own, hub, payments, received, settlement } = this.state;
    this.onAck(this.shown.known);
    if (this.shown.revocation.length > 0) this.onRevoke(...this.shown.revocation);
    const waiting = Object.keys(payments).filter((id) => payments[id].state === 'sent').slice(0, OUTCOMES_AT_ONCE);
    this.say(wire.RESUME, this.channel.id, hub.nonce, own.nonce, waiting);
    for (const update of this.state.kept) this.say(wire.UPDATE, ...update);
    if (hub.revoked) this.say(wire.REVOKE, this.channel.id, ...hub.revoked);
    for (const [id, { state, isLocked, secret, code, expiry }] of Object.entries(received)) {
      if (state === 'failed') this.say(wire.FAIL, this.channel.id, [[id, code]]);
      const isRepeated = state === 'received' && !isLocked && this.channel.view.now <= expiry;
      if (state === 'revealed' || isRepeated) this.say(wire.REVEAL, this.channel.id, [[id, secret]]);
    }
    this.isInStep = true;
    const proposal = this.shown.settlement;
    if (proposal.length === 0 && settlement) settlement.isSaidDead = true;
    if (proposal.length > 0 && proposal[5] === '0x') await this.onPropose(...proposal);
    else if (this.wish) Object.assign(this.wish, { isAsked: false });
    this.askToSettle();
  }
}
