// What only a real chain has: tokens that misbehave, clients that are contracts, callers that are mean with gas. None of
// them stops a batch, takes more than its own, or makes a good payout fail.
// Usage: node --test tests/evm/hostile.mjs      (compile.mjs tests/evm/contracts first)
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { artifact, ethers, hexOf, startAnvil } from './twins.mjs';
import { COIN, hubAbi, wallets } from './world.mjs';

const TOKEN = { good: 0, fee: 1, reverts: 2, returnsFalse: 3, returnsNothing: 4, returnsALot: 5, burnsGas: 6 };
const CLIENT = { accepts: 0, reverts: 1, reenters: 2, burnsGas: 3 };
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
  return { events: eventsOf(receipt), gas: Number(receipt.gasUsed) };
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
