// What only a real chain has: tokens that misbehave, clients that are contracts, callers that are mean with gas. None of
// them stops a batch, takes more than its own, or makes a good payout fail.
// Usage: node --test tests/evm/hostile.mjs      (compile.mjs tests/evm/contracts first)
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { artifact, ethers, hexOf, startAnvil } from './twins.mjs';
import { leafOf } from './protocol.mjs';
import { COIN, hubAbi, wallets } from './world.mjs';

const TOKEN = { good: 0, fee: 1, reverts: 2, returnsFalse: 3, returnsNothing: 4, returnsALot: 5, burnsGas: 6, reenters: 7 };
const CLIENT = { accepts: 0, reverts: 1, reenters: 2, burnsGas: 3, watches: 4 };
const tokenAbi = new ethers.Interface(artifact('HostileToken').abi);
const clientAbi = new ethers.Interface(artifact('HostileClient').abi);
const [hub, alice, bob] = wallets.map((wallet) => wallet.address);
const PERIOD = 100;
const GAS = 10_000_000;
const NO_PROOF = [0, 0, 0, ethers.ZeroHash, ethers.ZeroHash];
const NO_SIGNATURE = [ethers.ZeroHash, ethers.ZeroHash];

let node, contract, token;

async function transact(from, to, data, { value = 0n, gas = GAS } = {}) {
  const hash = await node.ask('eth_sendTransaction', { from, ...(to && { to }), data, value: hexOf(value), gas: hexOf(gas) });
  return node.receipt(hash);
}

async function deploy(name, types = [], values = []) {
  const data = artifact(name).bytecode + ethers.AbiCoder.defaultAbiCoder().encode(types, values).slice(2);
  return transact(hub, undefined, data);
}

const eventsOf = (receipt) => receipt.logs.filter((log) => log.address === contract.toLowerCase())
  .map((log) => hubAbi.parseLog(log)).map(({ name, args }) => ({ name, args }));

/** The events of a call that must succeed. */
async function call(from, name, values, more) {
  const receipt = await transact(from, contract, hubAbi.encodeFunctionData(name, values), more);
  assert.equal(receipt.status, '0x1', `${name} failed`);
  return { events: eventsOf(receipt), gas: Number(receipt.gasUsed), seen: seenIn(receipt) };
}

/** Asserts that the call reverts with this error. */
async function refuses(from, error, to, data, value = 0n) {
  const message = { from, to, data, value: hexOf(value), gas: hexOf(GAS) };
  const [answer] = await node.batch([['eth_call', [message, 'latest']]]);
  assert.ok(answer.error, `${error} expected, but the call succeeds`);
  assert.equal(answer.error.data.slice(0, 10), hubAbi.getError(error).selector);
}

async function view(name, values) {
  const data = hubAbi.encodeFunctionData(name, values);
  return hubAbi.decodeFunctionResult(name, await node.ask('eth_call', { to: contract, data }, 'latest'));
}

const coinsOf = async (who) => BigInt(await node.ask('eth_getBalance', who, 'latest'));
const behave = (manner) => transact(hub, token, tokenAbi.encodeFunctionData('behave', [manner]));
const has = (events, name, ...args) => events.some((one) => one.name === name && args.every((arg, i) => one.args[i] === arg));

async function settlement(wallet, key, clientOut, hubOut) {
  const [, , seq] = await view('channel', [key]);
  const { domain, types } = {
    domain: { name: 'Rill', version: '1', chainId: 31337, verifyingContract: contract },
    types: {
      Settlement: [['bytes32', 'channel'], ['uint32', 'seq'], ['uint64', 'clientOut'], ['uint64', 'hubOut'],
        ['uint64', 'deadline'], ['bool', 'close']].map(([type, name]) => ({ type, name })),
    },
  };
  const channel = ethers.keccak256(ethers.AbiCoder.defaultAbiCoder().encode(['address', 'address', 'uint64'], key));
  const message = { channel, seq: seq + 1n, clientOut, hubOut, deadline: 1n << 62n, close: false };
  const signature = ethers.Signature.from(await wallet.signTypedData(domain, types, message));
  return [key, clientOut, hubOut, message.deadline, false, signature.r, signature.yParityAndS];
}

/** A client that is a contract, its channel of 1,000 coin units closed up to the call of finish. */
async function closingClient(salt) {
  const client = (await deploy('HostileClient', ['address'], [contract])).contractAddress;
  const key = [ethers.getAddress(client), COIN, salt];
  await call(hub, 'deposit', [key, 1000n], { value: 1000n });
  const close = hubAbi.encodeFunctionData('startClose', [key, NO_PROOF, ...NO_SIGNATURE, [0, 0, 0, ethers.ZeroHash]]);
  const receipt = await transact(bob, client, clientAbi.encodeFunctionData('forward', [close, 0]));
  assert.equal(receipt.status, '0x1');
  await node.ask('evm_increaseTime', PERIOD * 2);
  await node.ask('evm_mine');
  return { client: key[0], key };
}

/** A closed channel in which 200 units are held for the client: a lock of the hub's whose secret is registered. */
async function lockedClient(salt) {
  const client = ethers.getAddress((await deploy('HostileClient', ['address'], [contract])).contractAddress);
  const key = [client, COIN, salt];
  const secret = ethers.id('secret'), condition = ethers.sha256(secret);
  const lock = [1n, 200n, 1n << 40n, 0, condition];
  await call(hub, 'depositPool', [COIN, 1000], { value: 1000n });
  await call(hub, 'settleBatch', [[], [[key, 1000n]], ethers.ZeroHash]);
  await call(hub, 'startClose', [key, NO_PROOF, ...NO_SIGNATURE, [1, 0, 200, leafOf(lock)]]);
  await call(bob, 'registerSecret', [secret]);
  await node.ask('evm_increaseTime', PERIOD * 2);
  await call(bob, 'finish', [key]);
  assert.equal((await view('held', [key]))[1], 200n);
  return { client, key, lock };
}

const tokensOf = async (who) => BigInt(await node.ask('eth_call', { to: token, data: tokenAbi.encodeFunctionData('balanceOf', [who]) }, 'latest'));
const heldOf = async (key) => (await view('held', [key]))[0];
/** What clients that watch saw while they were paid, in order. */
const seenIn = (receipt) => receipt.logs.map((log) => clientAbi.parseLog(log)).filter((one) => one?.name === 'Saw')
  .map(({ args }) => args.answer);
const teach = (client, manner, data = '0x') =>
  transact(bob, client, clientAbi.encodeFunctionData('behave', [manner, data]));

before(async () => {
  node = await startAnvil(['--block-base-fee-per-gas', '0', '--gas-price', '0']);
  contract = ethers.getAddress((await deploy('RillHub', ['address', 'uint64', 'uint16'], [hub, PERIOD, 1000])).contractAddress);
  token = (await deploy('HostileToken')).contractAddress;
  await transact(hub, token, tokenAbi.encodeFunctionData('approve', [contract, 1n << 100n]));
  for (const asset of [COIN, token]) await call(hub, 'listAsset', [asset, 1]);
});
after(() => node?.stop());

test('a bounty above a half is refused at the start', async () => {
  assert.equal((await deploy('RillHub', ['address', 'uint64', 'uint16'], [hub, PERIOD, 5001])).status, '0x0');
  assert.equal((await deploy('RillHub', ['address', 'uint64', 'uint16'], [hub, PERIOD, 5000])).status, '0x1');
});

test('a deposit that does not arrive whole is WrongValue', async () => {
  const data = hubAbi.encodeFunctionData('deposit', [[alice, token, 9], 100]);
  for (const manner of ['fee', 'reverts', 'returnsFalse', 'returnsALot', 'burnsGas']) {
    await behave(TOKEN[manner]);
    await refuses(hub, 'WrongValue', contract, data);
    await refuses(hub, 'WrongValue', contract, hubAbi.encodeFunctionData('depositPool', [token, 100]));
  }
  await behave(TOKEN.returnsNothing);
  await call(hub, 'deposit', [[alice, token, 9], 100]);
  await behave(TOKEN.good);
});

test('a token payout that fails is owed, and the rest of the batch is paid', async () => {
  const [bad, good] = [[alice, token, 1], [bob, COIN, 1]];
  for (const manner of ['reverts', 'returnsFalse', 'returnsALot', 'burnsGas']) {
    await call(hub, 'deposit', [bad, 100]);
    await call(hub, 'deposit', [good, 100], { value: 100n });
    await behave(TOKEN[manner]);
    const coins = await coinsOf(bob);
    const items = [await settlement(wallets[1], bad, 60n, 40n), await settlement(wallets[2], good, 100n, 0n)];
    const { events, gas } = await call(hub, 'settleBatch', [items, [], ethers.ZeroHash]);
    assert.ok(has(events, 'OwedRecorded', alice, ethers.getAddress(token), 60n), manner);
    assert.equal(await coinsOf(bob) - coins, 100n);
    assert.ok(gas < 400_000, `${manner}: ${gas} gas`);
    await refuses(alice, 'TransferFailed', contract, hubAbi.encodeFunctionData('withdrawOwed', [token, alice]));
    await refuses(hub, 'TransferFailed', contract, hubAbi.encodeFunctionData('withdrawPool', [token, hub, 40]));
    await behave(TOKEN.good);
    assert.ok(has((await call(alice, 'withdrawOwed', [token, alice])).events, 'OwedWithdrawn'));
    assert.deepEqual([...await view('owed', [alice, token])], [0n]);
  }
});

test('a payout with a token that returns nothing is delivered', async () => {
  const key = [alice, token, 2];
  await call(hub, 'deposit', [key, 100]);
  await behave(TOKEN.returnsNothing);
  const { events } = await call(hub, 'settleBatch', [[await settlement(wallets[1], key, 60n, 0n)], [], ethers.ZeroHash]);
  assert.ok(!has(events, 'OwedRecorded'));
  await behave(TOKEN.good);
});

test('a client that is a contract is paid if it accepts', async () => {
  const { client, key } = await closingClient(1);
  const { events } = await call(alice, 'finish', [key]);
  assert.ok(!has(events, 'OwedRecorded'));
  assert.equal(await coinsOf(client), 1000n);
});

test('a client that reverts, re-enters or burns gas on being paid is owed', async () => {
  const inner = hubAbi.encodeFunctionData('registerSecret', [ethers.id('inner')]);
  for (const [manner, data] of [[CLIENT.reverts, '0x'], [CLIENT.reenters, inner], [CLIENT.burnsGas, '0x']]) {
    const { client, key } = await closingClient(2 + manner);
    await teach(client, manner, data);
    const { events, gas } = await call(alice, 'finish', [key]);
    assert.ok(has(events, 'OwedRecorded', client, COIN, 1000n));
    assert.ok(!has(events, 'ConditionMet'));
    assert.ok(gas < 250_000, `${gas} gas`);
    await withdrawsElsewhere(client);
  }
});

/** What is owed does not move while its owner misbehaves, and goes where it says in the end, once. */
async function withdrawsElsewhere(client) {
  const withdraw = (to) => clientAbi.encodeFunctionData('forward', [hubAbi.encodeFunctionData('withdrawOwed', [COIN, to]), 0]);
  await refuses(bob, 'TransferFailed', client, withdraw(client));
  await teach(client, CLIENT.reenters, hubAbi.encodeFunctionData('withdrawOwed', [COIN, client]));
  await refuses(bob, 'TransferFailed', client, withdraw(client));
  assert.deepEqual([...await view('owed', [client, COIN])], [1000n]);
  const elsewhere = ethers.getAddress(ethers.dataSlice(ethers.id(client), 12));
  assert.equal((await transact(bob, client, withdraw(elsewhere))).status, '0x1');
  assert.equal(await coinsOf(elsewhere), 1000n);
  await refuses(bob, 'NothingOwed', client, withdraw(elsewhere));
}

test('a fee on transfer makes no other payout fail, and its receiver bears it', async () => {
  const key = [alice, token, 3];
  await call(hub, 'deposit', [key, 100]);
  await behave(TOKEN.fee);
  const before = await tokensOf(alice);
  const items = [await settlement(wallets[1], key, 60n, 40n)];
  assert.ok(!has((await call(hub, 'settleBatch', [items, [], ethers.ZeroHash])).events, 'OwedRecorded'));
  assert.equal(await tokensOf(alice) - before, 59n);
  await behave(TOKEN.good);
});

test('finish and unlock with a token that fails are recorded as owed, and can be withdrawn later', async () => {
  for (const [i, manner] of ['reverts', 'returnsFalse', 'returnsALot', 'burnsGas'].entries()) {
    const key = [alice, token, BigInt(20 + i)], lock = [1n, 30n, 1n, 0, ethers.id('nobody knows')];
    await call(hub, 'deposit', [key, 100]);
    await call(alice, 'startClose', [key, NO_PROOF, ...NO_SIGNATURE, [1, 0, 30, leafOf(lock)]]);
    await node.ask('evm_increaseTime', PERIOD * 2);
    await behave(TOKEN[manner]);
    const finished = await call(bob, 'finish', [key]);
    assert.ok(has(finished.events, 'OwedRecorded', alice, ethers.getAddress(token), 100n - await heldOf(key)), manner);
    assert.ok(finished.gas < 400_000, `${manner}: ${finished.gas} gas`);
    await refuses(alice, 'TransferFailed', contract, hubAbi.encodeFunctionData('withdrawOwed', [token, alice]));
    await behave(TOKEN.good);
    await call(alice, 'withdrawOwed', [token, alice]);
  }
});

test('an unlock that cannot be delivered is owed; a client that re-enters from it gets nothing more', async () => {
  const { client, key, lock } = await lockedClient(50n);
  const data = hubAbi.encodeFunctionData('unlock', [key, false, lock, []]);
  for (const manner of [CLIENT.reverts, CLIENT.burnsGas]) {
    await teach(client, manner);
    const snapshot = await node.ask('evm_snapshot');
    assert.ok(has((await call(bob, 'unlock', [key, false, lock, []])).events, 'OwedRecorded', client, COIN, 200n));
    assert.equal(await node.ask('evm_revert', snapshot), true);
  }
  await teach(client, CLIENT.reenters, data);
  const { events } = await call(bob, 'unlock', [key, false, lock, []]);
  assert.equal(events.filter((one) => one.name === 'Unlocked').length, 1);
  assert.ok(has(events, 'OwedRecorded', client, COIN, 200n));
  await refuses(bob, 'AlreadyUnlocked', contract, data);
});

test('a client that looks while it is paid sees that the channel is finished', async () => {
  const { client, key } = await closingClient(60);
  await teach(client, CLIENT.watches, hubAbi.encodeFunctionData('channel', [key]));
  const { seen } = await call(alice, 'finish', [key]);
  const [total, , , status] = hubAbi.decodeFunctionResult('channel', seen[0]);
  assert.deepEqual([total, status], [0n, 3n]);
});

test('in a batch, a client that is paid sees the pool with all that came before it', async () => {
  const poolBefore = (await view('pool', [COIN]))[0];
  await call(hub, 'depositPool', [COIN, 500], { value: 500n });
  const client = (await deploy('HostileClient', ['address'], [contract])).contractAddress;
  const [first, second] = [[bob, COIN, 70n], [alice, COIN, 70n]];
  for (const key of [first, second]) await call(hub, 'deposit', [key, 100], { value: 100n });
  // The watcher's code stands in the place of a client that signs with its key.
  await node.ask('anvil_setCode', alice, await node.ask('eth_getCode', client, 'latest'));
  await teach(alice, CLIENT.watches, hubAbi.encodeFunctionData('pool', [COIN]));
  const items = [await settlement(wallets[2], first, 10n, 40n), await settlement(wallets[1], second, 10n, 30n)];
  const { seen } = await call(hub, 'settleBatch', [items, [], ethers.ZeroHash]);
  const [pool] = hubAbi.decodeFunctionResult('pool', seen[0]);
  assert.equal(pool, poolBefore + 500n + 40n + 30n);
  await node.ask('anvil_setCode', alice, '0x');
});

test('nobody re-enters a batch, from a payout in coins or from inside a token', async () => {
  const inner = hubAbi.encodeFunctionData('depositPool', [COIN, 1]);
  const key = [alice, token, 80n];
  await call(hub, 'deposit', [key, 100]);
  await transact(hub, token, tokenAbi.encodeFunctionData('aim', [contract, inner]));
  await behave(TOKEN.reenters);
  const { events } = await call(hub, 'settleBatch', [[await settlement(wallets[1], key, 60n, 40n)], [], ethers.ZeroHash]);
  assert.ok(has(events, 'OwedRecorded', alice, ethers.getAddress(token), 60n));
  assert.ok(!has(events, 'PoolDeposited'));
  await behave(TOKEN.good);
});

test('a caller that gives little gas cannot make a good payout fail', async () => {
  let paid = 0, refused = 0;
  for (let gas = 40_000; gas <= 240_000; gas += 8_000) {
    const { client, key } = await closingClient(gas);
    const receipt = await transact(alice, contract, hubAbi.encodeFunctionData('finish', [key]), { gas });
    const isDone = receipt.status === '0x1';
    assert.ok(!has(eventsOf(receipt), 'OwedRecorded'), `${gas} gas`);
    assert.equal(await coinsOf(client), isDone ? 1000n : 0n);
    if (isDone) paid++;
    else refused++;
  }
  assert.ok(paid > 0 && refused > 0);
});
