// Random calls of every function. Each answers {function, from, to, data, value, channels, assets, conditions, leaves}:
// what is sent, and what to look at afterwards.
import { CONTRACT, FACTORY, ethers } from './twins.mjs';
import {
  AMOUNT_LIMIT, CLOSED, CLOSING, COIN, NONE, OPEN, U64_MAX, World, clip, factoryAbi, hubAbi, tokenAbi,
} from './world.mjs';
import { ZERO, conditionOfAttestation, conditionOfSecret, digestOf, leafOf } from './protocol.mjs';

// No account has more than this many coins to send along.
const COINS_MAX = 1500n * 10n ** 18n;
const BATCH_MAX = 4;

const contractCall = (name, from, values, more = {}) => ({
  function: name, from, to: CONTRACT, data: hubAbi.encodeFunctionData(name, values), value: 0n, channels: [], assets: [],
  conditions: [], leaves: [], owners: [], ...more,
});

/** Mostly the one that it should be. */
function caller(world, wallet, percent = 92) {
  return world.random.chance(percent) ? wallet : world.random.pick(world.actors);
}

function someAsset(world) {
  return world.random.chance(92) ? world.random.pick(world.assets) : world.random.pick(world.oddAssets);
}

/** The coins to send along with a pull: what is due, sometimes not. */
function valueFor(world, asset, amount) {
  const due = asset === COIN ? amount * world.unitOf(asset) : 0n;
  const value = world.random.chance(95) ? due : due + BigInt(world.random.below(3) - 1);
  return value < 0n || value > COINS_MAX ? BigInt(world.random.below(5)) : value;
}

function receiver(world) {
  const anyone = [...world.actors.map((wallet) => wallet.address), COIN, CONTRACT, FACTORY, world.tokens[0]];
  return world.random.pick(anyone);
}

// ------------------------------------------------------------------------------------------ money in and out

function listAsset(world) {
  const asset = world.random.pick([...world.assets, ...world.oddAssets]);
  const unit = world.random.pick([0n, 1n, 10n ** 9n, (1n << 128n) - 1n]);
  return contractCall('listAsset', caller(world, world.hub), [asset, unit], { assets: [asset] });
}

function depositPool(world) {
  const asset = someAsset(world);
  const amount = world.amount(AMOUNT_LIMIT - world.poolOf(asset), 10n ** 6n, 10n ** 10n);
  const value = valueFor(world, asset, amount);
  return contractCall('depositPool', caller(world, world.hub, 70), [asset, amount], { value, assets: [asset] });
}

function withdrawPool(world) {
  const asset = someAsset(world), to = receiver(world);
  const amount = world.random.chance(70) ? clip(world.poolOf(asset) / BigInt(2 + world.random.below(50)))
    : world.amount(world.poolOf(asset));
  return contractCall('withdrawPool', caller(world, world.hub), [asset, to, amount], { assets: [asset], owners: [to] });
}

function deposit(world) {
  const channel = world.channelWith(world.random.pick([NONE, NONE, OPEN, OPEN, OPEN, CLOSED]));
  const [client, asset] = channel.key;
  const limits = [AMOUNT_LIMIT - channel.total, AMOUNT_LIMIT - channel.base];
  const amount = world.random.chance(85) ? world.amount(1000n, 10n ** 6n) : world.amount(...limits);
  const from = caller(world, world.walletOf(client) ?? world.stranger);
  const value = valueFor(world, asset, amount);
  return contractCall('deposit', from, [channel.key, amount], { value, channels: [channel] });
}

function withdrawOwed(world) {
  const asset = someAsset(world), to = world.random.chance(75) ? receiver(world) : world.random.pick([COIN, CONTRACT]);
  const from = caller(world, world.hub, 70);
  return contractCall('withdrawOwed', from, [asset, to], { assets: [asset], owners: [to] });
}

// ----------------------------------------------------------------------------------------- netted settlement

function settleItem(world) {
  const { random } = world;
  const channel = world.channelWith(OPEN);
  const most = clip(channel.total);
  const clientOut = random.chance(70) ? most / BigInt(2 + random.below(8)) : world.amount(most, most / 2n);
  const hubOut = random.chance(70) ? (most - clip(clientOut)) / BigInt(2 + random.below(8)) : world.amount(clip(most - clientOut));
  const deadline = random.chance(90) ? world.time + BigInt(random.below(2)) : clip(world.time - 1n);
  const close = random.chance(12);
  const seq = random.chance(95) ? channel.seq + 1 : random.pick([channel.seq, channel.seq + 2, 0]);
  const message = { channel: channel.id, seq, clientOut: clip(clientOut), hubOut: clip(hubOut), deadline, close };
  const signature = world.signature(world.partyOf(channel, 'client'), digestOf('Settlement', message));
  return { channel, values: [channel.key, message.clientOut, message.hubOut, deadline, close, ...signature] };
}

function settleFund(world) {
  const channel = world.random.chance(50) ? world.newChannel() : world.channelWith(OPEN);
  const amount = world.random.chance(75) ? world.amount(10n ** 6n)
    : world.amount(world.poolOf(channel.key[1]), AMOUNT_LIMIT - channel.total);
  return { channel, values: [channel.key, amount] };
}

function settleBatch(world) {
  const { random } = world;
  const items = Array.from({ length: random.below(BATCH_MAX + 1) }, () => settleItem(world));
  const funds = Array.from({ length: random.below(BATCH_MAX + 1) }, () => settleFund(world));
  if (items.length > 0 && random.chance(5)) items.push(items[0]);
  const values = [items.map((item) => item.values), funds.map((fund) => fund.values), random.hash()];
  const channels = [...new Set([...items, ...funds].map((one) => one.channel))];
  return contractCall('settleBatch', caller(world, world.hub, 96), values, { channels });
}

// --------------------------------------------------------------------------------------------------- closing

function setTower(world) {
  const tower = world.random.chance(80) ? world.random.pick(world.towers) : world.random.pick(world.actors);
  return contractCall('setTower', caller(world, world.hub), [tower.address, world.random.chance(85)]);
}

/** What the closer says of its own stream: a version, or a sum at the limit of what it can have had. */
function ownClaim(world, channel, side, partnerTransferred) {
  const { random } = world;
  const version = random.chance(70) ? world.version(channel, side)
    : random.chance(60) ? channel.streams[side][0] : undefined;
  let [nonce, transferred, locked, root] = version ? World.proof(version) : [0n, 0n, 0n, ZERO];
  const base = side === 'hub' ? channel.total - channel.base : channel.base;
  const most = base + partnerTransferred;
  if (random.chance(25)) transferred = clip(most - locked + BigInt(random.below(3) - 1));
  else if (transferred + locked > most && random.chance(70)) {
    transferred = clip(most / 2n);
    locked = clip(most - transferred) < locked ? clip(most - transferred) : locked;
  }
  if (random.chance(4)) locked = U64_MAX;
  if (random.chance(10)) nonce = random.pick([0n, nonce + 1n, U64_MAX]);
  return [nonce, transferred, locked, root];
}

function startClose(world) {
  const { random } = world;
  const channel = world.channelWith(OPEN);
  const byHub = random.bool() || !world.walletOf(channel.key[0]);
  const [side, other] = byHub ? ['hub', 'client'] : ['client', 'hub'];
  const from = caller(world, byHub ? world.hub : world.walletOf(channel.key[0]));
  const shows = random.chance(75) && (other === 'hub' || world.walletOf(channel.key[0]));
  const proof = shows ? World.proof(world.version(channel, other)) : World.noProof();
  if (!shows && random.chance(6)) proof[1 + random.below(2)] = 1n;
  const signature = world.signature(world.partyOf(channel, other), world.proofDigest(channel, proof));
  const values = [channel.key, proof, ...signature, ownClaim(world, channel, side, proof[1])];
  return contractCall('startClose', from, values, { channels: [channel] });
}

/** A proof of the closer's stream: newer, older, or another one with the nonce that the closer named. */
function challengeProof(world, channel, side) {
  const { random } = world;
  const proof = World.proof(world.version(channel, side));
  const own = channel.closing?.own;
  if (own && random.chance(30)) proof[0] = own.nonce + BigInt(random.below(3)) - 1n;
  if (own && random.chance(15)) {
    proof.splice(0, 4, own.nonce, own.transferred, own.locked, own.locksRoot);
    if (random.chance(30)) proof[2] = clip(proof[2] + 1n);
  }
  if (random.chance(8)) proof[1] = world.amount(proof[1], channel.total);
  proof[0] = clip(proof[0]);
  return proof;
}

function challenge(world) {
  const { random } = world;
  const channel = world.channelWith(CLOSING);
  const closer = channel.closing?.byHub ? 'hub' : 'client', partner = closer === 'hub' ? 'client' : 'hub';
  const proof = challengeProof(world, channel, closer);
  const digest = world.proofDigest(channel, proof);
  const signature = world.signature(world.partyOf(channel, closer), digest);
  const tower = random.chance(94) ? random.pick([...world.towers, world.stranger]).address : random.pick([COIN, CONTRACT, FACTORY]);
  const chosen = digestOf('Choice', { proofDigest: digest, tower });
  const choice = world.signature(world.partyOf(channel, random.chance(85) ? partner : closer), chosen);
  const from = random.weighted([
    [25, world.partyOf(channel, partner)], [50, random.pick(world.towers)], [20, random.pick(world.actors)],
    [5, world.partyOf(channel, closer)],
  ]);
  const values = [channel.key, proof, ...signature, tower, ...choice];
  return contractCall('challenge', from, values, { channels: [channel] });
}

function voidLocks(world) {
  const { random } = world;
  const channel = world.channelWith(CLOSING);
  const ofClient = random.bool();
  const claim = ofClient ? channel.closing?.ofClient : channel.closing?.ofHub;
  const minNonce = clip((claim?.nonce ?? 0n) + BigInt(random.below(4)) - 1n);
  const signer = world.partyOf(channel, ofClient ? 'hub' : 'client');
  const signature = world.signature(signer, digestOf('Revocation', { channel: channel.id, minNonce }));
  const values = [channel.key, ofClient, minNonce, ...signature];
  return contractCall('voidLocks', random.pick(world.actors), values, { channels: [channel] });
}

function finish(world) {
  const channel = world.channelWith(CLOSING);
  return contractCall('finish', world.random.pick(world.actors), [channel.key], { channels: [channel] });
}

// ------------------------------------------------------------------------------------------ conditions, locks

function registerSecret(world) {
  const secret = world.random.chance(90) ? world.random.pick(world.secrets) : world.random.hash();
  const conditions = [[0, conditionOfSecret(secret)]];
  return contractCall('registerSecret', world.random.pick(world.actors), [secret], { conditions });
}

function registerAttestation(world) {
  const { random } = world;
  const event = random.pick(world.events);
  const attester = random.chance(95) ? world.attester.address : random.pick([COIN, world.stranger.address]);
  const signature = world.signature(world.attester, digestOf('Attestation', { eventId: event }));
  const conditions = [[1, conditionOfAttestation(attester, event)]];
  const values = [attester, event, ...signature];
  return contractCall('registerAttestation', random.pick(world.actors), values, { conditions });
}

function unlock(world) {
  const { random } = world;
  // What still holds something comes first; others show what a spent or an empty channel answers.
  const holding = world.channels.filter((one) => one.status === CLOSED && one.held && one.held[0] + one.held[1] > 0n);
  const channel = !world.focus && holding.length > 0 && random.chance(85) ? random.pick(holding) : world.channelWith(CLOSED);
  const ofClient = random.bool();
  const found = world.lockOf(channel, ofClient ? 'client' : 'hub');
  const lock = found ? [...found.lock] : world.newLock(channel);
  const proof = found ? [...found.proof] : [];
  if (random.chance(4)) lock[random.below(3)] += 1n;
  if (random.chance(2)) lock[3] = random.pick([2, 255]);
  if (random.chance(3)) proof.push(random.hash());
  if (random.chance(2)) proof.pop();
  const values = [channel.key, ofClient, lock.map((field) => (typeof field === 'bigint' ? clip(field) : field)), proof];
  const more = { channels: [channel], leaves: [[channel.key, ofClient, leafOf(values[2])]] };
  return contractCall('unlock', random.pick(world.actors), values, more);
}

// ----------------------------------------------------------------------------------------- tokens, malformed

function tokenCall(world) {
  const { random } = world;
  const token = random.pick(world.tokens), from = random.pick(world.actors);
  const [one, other] = [receiver(world), receiver(world)];
  const value = random.pick([0n, 1n, BigInt(random.below(10 ** 9)), (1n << 256n) - 1n, 1n << 249n]);
  const [name, values] = random.pick([
    ['transfer', [one, value]], ['approve', [random.chance(50) ? CONTRACT : one, value]],
    ['transferFrom', [one, other, value]],
  ]);
  return {
    ...contractCall('hub', from, []), function: `token.${name}`, to: token, data: tokenAbi.encodeFunctionData(name, values),
    assets: [token], owners: [one, other],
  };
}

function createToken(world) {
  const { random } = world;
  const values = ['Coin '.repeat(1 + random.below(9)), random.pick(['', 'C', 'COIN', 'C'.repeat(40)]), random.below(256),
    random.pick([0n, 1n, (1n << 256n) - 1n])];
  const data = factoryAbi.encodeFunctionData('create', values);
  return { ...contractCall('hub', random.pick(world.actors), []), function: 'factory.create', to: FACTORY, data };
}

/** A call that was good, with bytes that the ABI does not allow, or coins where none are taken. */
function malformed(world) {
  const { random } = world;
  const call = randomCall(world, plain);
  const bytes = ethers.getBytes(call.data);
  const word = 4 + 32 * random.below(Math.max(1, (bytes.length - 4) >> 5));
  const [name, change] = random.pick([
    ['coins', () => ({ value: 1n })],
    ['bare', () => ({ data: '0x', value: BigInt(random.below(2)) })],
    ['selector', () => ({ data: ethers.hexlify(random.bytes(4)) + call.data.slice(10) })],
    ['short', () => ({ data: call.data.slice(0, 2 + 2 * random.below(bytes.length)) })],
    ['long', () => ({ data: call.data + random.hash().slice(2) })],
    ['dirty', () => {
      bytes[Math.min(word + random.pick([0, 11, 23, 30]), bytes.length - 1)] ^= 1 << random.below(8);
      return { data: ethers.hexlify(bytes) };
    }],
  ]);
  return { ...call, ...change(), function: `malformed.${name}` };
}

const plain = [
  [1, listAsset], [5, depositPool], [3, withdrawPool], [12, deposit], [3, withdrawOwed], [14, settleBatch], [3, setTower],
  [11, startClose], [24, challenge], [6, voidLocks], [9, finish], [4, registerSecret], [4, registerAttestation],
  [10, unlock], [3, tokenCall], [1, createToken],
];
const all = [...plain, [5, malformed]];

// What matters to a channel that stands at one of its limits of time.
const timely = { [CLOSING]: [[4, challenge], [2, voidLocks], [3, finish]], [CLOSED]: [[1, unlock]] };

export function randomCall(world, list = all) {
  const choices = world.focus && timely[world.focus.status];
  if (choices && world.random.chance(80)) return world.random.weighted(choices)(world);
  return world.random.weighted(list)(world);
}

/** What every run begins with: tokens, allowances, listed assets, a pool. */
export function setUp(world) {
  const { random, hub, tokens, actors } = world;
  const supply = 1n << 250n;
  const token = (from, address, name, values) => ({
    ...contractCall('hub', from, []), function: `token.${name}`, to: address, data: tokenAbi.encodeFunctionData(name, values),
    assets: [address],
  });
  const calls = tokens.map(() => ({
    ...contractCall('hub', hub, []), function: 'factory.create', to: FACTORY,
    data: factoryAbi.encodeFunctionData('create', ['Euro', 'EUR', 18, supply]),
  }));
  for (const address of tokens) {
    for (const wallet of actors.slice(1)) calls.push(token(hub, address, 'transfer', [wallet.address, supply / 16n]));
    // The last actor gives no allowance, and one gives a small one.
    for (const [i, wallet] of actors.slice(0, -1).entries())
      calls.push(token(wallet, address, 'approve', [CONTRACT, i === 4 ? 5000n : random.bool() ? (1n << 256n) - 1n : supply]));
  }
  for (const tower of world.towers) calls.push(contractCall('setTower', hub, [tower.address, true]));
  const units = [random.pick([1n, 1n, 10n ** 9n]), random.pick([1n, 10n ** 9n]), random.pick([7n, (1n << 128n) - 1n])];
  for (const [i, asset] of world.assets.entries()) {
    calls.push(contractCall('listAsset', hub, [asset, units[i]], { assets: [asset] }));
    const amount = asset === COIN || random.bool() ? 10n ** 9n : AMOUNT_LIMIT - 1n - BigInt(random.below(1000));
    const value = asset === COIN ? amount * units[i] : 0n;
    calls.push(contractCall('depositPool', hub, [asset, amount], { value, assets: [asset] }));
  }
  return calls;
}
