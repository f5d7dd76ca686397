// The actors of one run, their channels, and what they have signed: random, but close to what is valid, so that most
// calls get past the first check.
import { CONTRACT, FACTORY, GENESIS_TIME, artifact, ethers } from './twins.mjs';
import {
  ZERO, channelId, conditionOfAttestation, conditionOfSecret, digestOf, proofOf, rootOf, sign, treeOf,
} from './protocol.mjs';

export const AMOUNT_LIMIT = 1n << 63n;
export const U64_MAX = (1n << 64n) - 1n;
export const COIN = ethers.ZeroAddress;
export const hubAbi = new ethers.Interface(artifact('RillHub').abi);
export const tokenAbi = new ethers.Interface(artifact('RillToken').abi);
export const factoryAbi = new ethers.Interface(artifact('RillTokenFactory').abi);
export const [NONE, OPEN, CLOSING, CLOSED] = [0, 1, 2, 3];

const MNEMONIC = 'test test test test test test test test test test test junk';
const ACCOUNTS = 10;
const CLIENTS = [1, 2, 3, 4], TOWERS = [5, 6], STRANGER = 7, ATTESTER = 8, DEPLOYER = 9;
const SECRETS = 12, EVENTS = 6, STREAM_LOCKS_MAX = 6;

export const wallets = Array.from({ length: ACCOUNTS }, (_, i) =>
  ethers.HDNodeWallet.fromPhrase(MNEMONIC, '', `m/44'/60'/0'/0/${i}`));
export const deployer = wallets[DEPLOYER].address;
export const clip = (value) => (value < 0n ? 0n : value > U64_MAX ? U64_MAX : value);

export class World {
  constructor(random, options) {
    this.random = random;
    this.challengePeriod = BigInt(options.challengePeriod);
    this.now = BigInt(GENESIS_TIME);
    this.hub = wallets[0];
    this.clients = CLIENTS.map((i) => wallets[i]);
    this.towers = TOWERS.map((i) => wallets[i]);
    this.stranger = wallets[STRANGER];
    this.attester = wallets[ATTESTER];
    this.actors = wallets.slice(0, DEPLOYER);
    const token = (nonce) => ethers.getCreateAddress({ from: FACTORY, nonce });
    this.tokens = [token(1), token(2), token(3)];
    // The third token is not listed at first; the last two are no tokens at all.
    this.assets = [COIN, this.tokens[0], this.tokens[1]];
    this.oddAssets = [this.tokens[2], FACTORY, this.stranger.address];
    this.units = new Map();
    this.pools = new Map();
    this.channels = [];
    this.secrets = Array.from({ length: SECRETS }, () => random.hash());
    this.events = Array.from({ length: EVENTS }, () => random.hash());
    this.lockId = 0n;
  }

  unitOf(asset) { return this.units.get(asset) ?? 0n; }
  poolOf(asset) { return this.pools.get(asset) ?? 0n; }
  walletOf(address) { return wallets.find((wallet) => wallet.address === address); }

  /** An amount: often at a limit, or around one of the values that matter here. */
  amount(...around) {
    const { random } = this;
    return random.weighted([
      [30, () => BigInt(random.below(1000))],
      [10, () => BigInt(random.below(1_000_000_000))],
      [around.length * 10, () => clip(random.pick(around) + BigInt(random.below(3) - 1))],
      [around.length * 6, () => clip(random.pick(around) / BigInt(1 + random.below(9)))],
      [2, () => random.pick([0n, AMOUNT_LIMIT - 1n, AMOUNT_LIMIT, U64_MAX])],
      [1, () => random.big()],
    ])();
  }

  // -------------------------------------------------------------------------------------------- channels

  channelAt(client, asset, salt) {
    const key = [client, asset, salt];
    const id = channelId(key);
    let channel = this.channels.find((one) => one.id === id);
    if (!channel) {
      channel = { key, id, total: 0n, base: 0n, seq: 0, status: NONE, streams: { client: [], hub: [] } };
      this.channels.push(channel);
    }
    return channel;
  }

  newChannel() {
    const { random } = this;
    const client = random.chance(85) ? random.pick(this.clients).address
      : random.pick([CONTRACT, FACTORY, this.tokens[0], COIN, this.hub.address]);
    const asset = random.chance(95) ? random.pick(this.assets) : random.pick(this.oddAssets);
    return this.channelAt(client, asset, random.pick([0n, BigInt(random.below(1000)), random.big(), U64_MAX]));
  }

  /** A channel, mostly with the status; another one, or a new one, otherwise. */
  channelWith(status) {
    if (this.focus?.status === status && this.random.chance(90)) return this.focus;
    const fitting = this.channels.filter((channel) => channel.status === status);
    if (fitting.length > 0 && this.random.chance(93)) return this.random.pick(fitting);
    return this.channels.length > 0 && this.random.chance(60) ? this.random.pick(this.channels) : this.newChannel();
  }

  partyOf(channel, side) {
    return side === 'hub' ? this.hub : this.walletOf(channel.key[0]) ?? this.stranger;
  }

  // --------------------------------------------------------------------------------------------- streams

  /** One more balance proof of a stream, not necessarily an honest one. */
  advance(channel, side) {
    const { random } = this;
    const stream = channel.streams[side];
    const last = stream.at(-1) ?? { nonce: 0n, transferred: 0n, locks: [] };
    const locks = [...last.locks];
    let transferred = clip(last.transferred + this.amount(channel.total / 4n));
    if (locks.length > 0 && random.chance(40)) {
      const [lock] = locks.splice(random.below(locks.length), 1);
      if (random.bool()) transferred = clip(transferred + lock[1]);
    }
    while (locks.length < STREAM_LOCKS_MAX && random.chance(45)) locks.push(this.newLock(channel));
    const locked = clip(locks.reduce((sum, lock) => sum + lock[1], 0n));
    const levels = treeOf(locks);
    const version = {
      nonce: last.nonce + BigInt(random.pick([1, 1, 1, 2, 5])), transferred, locked, locksRoot: rootOf(levels),
      bodyHash: random.hash(), locks, levels,
    };
    stream.push(version);
    return version;
  }

  newLock(channel) {
    const { random } = this;
    this.lockId += BigInt(random.pick([1, 1, 3, 1023, 1025]));
    const kind = random.below(2);
    const condition = kind === 0 ? conditionOfSecret(random.pick(this.secrets))
      : conditionOfAttestation(this.attester.address, random.pick(this.events));
    // Mostly around the end of a close that begins now; some outlast it.
    const span = Number(this.challengePeriod) * (random.chance(15) ? 20 : 2) + 20;
    const expiry = this.now + BigInt(random.below(span));
    return [this.lockId, this.amount(channel.total / 3n), expiry, kind, condition];
  }

  /** Any version of the stream, mostly one of the newest. */
  version(channel, side) {
    const { random } = this;
    const stream = channel.streams[side];
    while (stream.length === 0 || random.chance(35)) this.advance(channel, side);
    return random.chance(50) ? stream.at(-1) : stream[Math.max(0, stream.length - 1 - random.below(5))];
  }

  static proof(version) {
    return [version.nonce, version.transferred, version.locked, version.locksRoot, version.bodyHash];
  }

  static noProof() { return [0n, 0n, 0n, ZERO, ZERO]; }

  proofDigest(channel, proof) {
    const [nonce, transferred, locked, locksRoot, bodyHash] = proof;
    return digestOf('BalanceProof', { channel: channel.id, nonce, transferred, locked, locksRoot, bodyHash });
  }

  /** Finds a lock of what the stream stands at, with its proof; undefined where there is none. */
  lockOf(channel, side) {
    const { closing } = channel;
    if (!closing) return undefined;
    const claim = side === 'client' ? closing.ofClient : closing.ofHub;
    const version = channel.streams[side].find((one) => one.locksRoot === claim.locksRoot && one.locks.length > 0);
    if (!version) return undefined;
    const lock = this.random.pick(version.locks);
    return { lock, proof: proofOf(version.levels, lock[0]) };
  }

  /** [r, vs], mostly good; otherwise of another signer, of other bytes, with a high s, or noise. */
  signature(wallet, digest) {
    const { random } = this;
    const [r, vs] = sign(wallet, digest);
    const flipParity = (word) => ethers.toBeHex(BigInt(word) ^ (1n << 255n), 32);
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
    return random.weighted([
      [84, () => [r, vs]],
      [8, () => [r, flipParity(vs)]],
      [2, () => sign(random.pick(this.actors), digest)],
      [1, () => [r, ethers.toBeHex((order - (BigInt(vs) & ((1n << 255n) - 1n))) % (1n << 256n), 32)]],
      [1, () => [random.hash(), random.hash()]],
      [1, () => random.pick([[ZERO, vs], [r, ZERO], [ZERO, ZERO], [ethers.toBeHex(order, 32), vs]])],
    ])();
  }

  /** When the next block is: mostly soon, often exactly at or beside a limit, which brings its channel into focus. */
  nextTime() {
    const { random } = this;
    const soon = this.now + BigInt(1 + random.below(3));
    this.focus = undefined;
    if (!random.chance(12)) {
      const running = this.channels.filter((one) => one.status === CLOSING && one.closing.deadline > soon);
      if (running.length > 0 && random.chance(25)) this.focus = random.pick(running);
      return soon;
    }
    const limits = [];
    for (const channel of this.channels) {
      if (channel.status === CLOSING)
        for (const eighths of [0n, 1n, 2n, 3n])
          limits.push({ channel, time: channel.closing.deadline + (this.challengePeriod * eighths) / 8n });
      if (channel.status === CLOSED && channel.closing)
        for (const side of ['client', 'hub']) {
          const found = random.chance(30) ? this.lockOf(channel, side) : undefined;
          if (found) limits.push({ channel, time: found.lock[2] });
        }
    }
    const ahead = limits.filter((limit) => limit.time > this.now + 1n).sort((a, b) => (a.time < b.time ? -1 : 1)).slice(0, 2);
    if (ahead.length === 0) return soon;
    const { channel, time } = random.pick(ahead);
    this.focus = channel;
    return time + BigInt(random.below(3) - 1);
  }
}
