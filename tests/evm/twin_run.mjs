// One run of the differential test: a fresh pair of ledgers, the same signed transactions to both, everything compared.
// A worker process of differential.mjs plays the runs that it is sent, and answers with what was seen.
import { CHAIN_ID, CONTRACT, ethers, hexOf, startTwins } from './twins.mjs';
import { World, deployer, hubAbi, tokenAbi } from './world.mjs';
import { randomCall, setUp } from './calls.mjs';
import { Coverage } from './coverage.mjs';
import { Random } from './random.mjs';

const GAS = 8_000_000;

const TELL_EVERY = 25;

class Difference extends Error {}

// ------------------------------------------------------------------------------------------------ one call

const errorNames = new Map([hubAbi, tokenAbi].flatMap((abi) =>
  abi.fragments.filter((one) => one.type === 'error').map((one) => [one.selector, one.name])));

/** What eth_call answered, in words that both ledgers share. */
function outcomeOf(answer) {
  if (!answer.error) return { name: 'ok', data: answer.result };
  const { message, data } = answer.error;
  if (!/revert/i.test(message)) return { name: `refused: ${message}`, data: '' };
  const bytes = typeof data === 'string' ? data : '0x';
  return { name: bytes === '0x' ? 'unnamed' : errorNames.get(bytes.slice(0, 10)) ?? bytes, data: bytes };
}

/** Both answers of a call that is only looked at and then sent, as {name, data, events, gas}. */
function judge(node, dry, receipt, time) {
  const outcome = outcomeOf(dry);
  const success = receipt.status === '0x1';
  if (success !== (outcome.name === 'ok'))
    throw new Difference(`${node.name}: eth_call says ${outcome.name}, the transaction's status is ${receipt.status}`);
  if (receipt.blockTimestamp !== undefined && BigInt(receipt.blockTimestamp) !== time)
    throw new Error(`${node.name}: the block has the time ${receipt.blockTimestamp}, not ${time}`);
  const events = receipt.logs.map(({ address, topics, data }) => ({ address: address.toLowerCase(), topics, data }));
  return { ...outcome, events, gas: Number(receipt.gasUsed) };
}

const resultOf = (node, answer) => {
  if (answer.error || !answer.result) throw new Error(`${node.name}: ${JSON.stringify(answer)}`);
  return answer.result;
};

/** The embedded ledger answers the calls of a batch one after the other: everything goes out at once. */
async function askEmbedded(node, message, raw, hash, time, views) {
  const [, dry, sent, receipt, ...answers] = await node.batch([
    ['evm_setNextBlockTimestamp', [Number(time)]], ['eth_call', [message, 'latest']], ['eth_sendRawTransaction', [raw]],
    ['eth_getTransactionReceipt', [hash]], ...views.slice(0, BATCH).map((view) => view.request)]);
  resultOf(node, sent);
  const more = await answersOf(node, views.slice(BATCH));
  return { ...judge(node, dry, resultOf(node, receipt), time), views: [...answers.map(noteOf), ...more] };
}

/**
 * anvil answers the calls of a batch in any order, even a call at the block before: what depends on the transaction,
 * and what must not see it, are asked apart. eth_call is told its time; the embedded ledger takes the one that the
 * next block will have anyway.
 */
async function askEvm(node, message, raw, time, views) {
  const [, dry] = await node.batch([
    ['evm_setNextBlockTimestamp', [Number(time)]], ['eth_call', [message, 'latest', {}, { time: hexOf(time) }]]]);
  const [sent] = await node.batch([['eth_sendRawTransactionSync', [raw]]]);
  return { ...judge(node, dry, resultOf(node, sent), time), views: await answersOf(node, views) };
}

// ----------------------------------------------------------------------------------------------------- views

const requests = new Map();

/** The request of a view, and how it is called in a report. Most are asked again and again. */
function viewOf(abi, to, name, values) {
  const label = `${name}(${values.flat().join(', ')})`, key = `${to} ${label}`;
  let view = requests.get(key);
  if (!view) {
    const data = abi.encodeFunctionData(name, values);
    view = { label, request: ['eth_call', [{ from: ethers.ZeroAddress, to, data }, 'latest']] };
    requests.set(key, view);
  }
  return view;
}

/** Each view of what the call may have touched: {label, request, note: what to do with the answer}. */
function viewsOf(world, call, everything) {
  const views = [];
  const ask = (abi, to, name, values, note) =>
    views.push({ ...viewOf(abi, to, name, values), note: note && ((data) => note(abi.decodeFunctionResult(name, data))) });
  const channels = everything ? world.channels : call.channels;
  const assets = new Set([...(everything ? [...world.assets, ...world.oddAssets] : call.assets), ...channels.map((one) => one.key[1])]);
  const people = new Set([call.from.address, world.hub.address, CONTRACT, ...call.owners, ...channels.map((one) => one.key[0]),
    ...channels.flatMap((one) => (one.closing ? [one.closing.tower] : [])), ...world.towers.map((one) => one.address),
    ...(everything ? world.actors.map((one) => one.address) : [])]);
  for (const channel of channels) {
    ask(hubAbi, CONTRACT, 'channel', [channel.key], ([total, base, seq, status]) =>
      Object.assign(channel, { total, base, seq: Number(seq), status: Number(status) }));
    ask(hubAbi, CONTRACT, 'closing', [channel.key], ([closing]) => { channel.closing = closing.deadline === 0n ? undefined : closing; });
    ask(hubAbi, CONTRACT, 'held', [channel.key], (held) => { channel.held = held; });
  }
  for (const asset of assets) {
    ask(hubAbi, CONTRACT, 'unit', [asset], ([unit]) => world.units.set(asset, unit));
    ask(hubAbi, CONTRACT, 'pool', [asset], ([pool]) => world.pools.set(asset, pool));
    for (const person of people) {
      ask(hubAbi, CONTRACT, 'owed', [person, asset]);
      if (world.tokens.includes(asset)) ask(tokenAbi, asset, 'balanceOf', [person]);
    }
  }
  for (const token of world.tokens.filter((one) => assets.has(one))) ask(tokenAbi, token, 'allowance', [call.from.address, CONTRACT]);
  for (const tower of [call.from, ...world.towers]) ask(hubAbi, CONTRACT, 'isTower', [tower.address]);
  for (const condition of call.conditions) ask(hubAbi, CONTRACT, 'registeredAt', condition);
  for (const leaf of call.leaves) ask(hubAbi, CONTRACT, 'unlocked', leaf);
  for (const person of people)
    views.push({ label: `coins of ${person}`, request: ['eth_getBalance', [person, 'latest']] });
  if (everything) for (const name of ['hub', 'challengePeriod', 'bountyBps', 'domainSeparator']) ask(hubAbi, CONTRACT, name, []);
  return views;
}

const BATCH = 200;
const noteOf = (answer) => answer.result ?? JSON.stringify(answer.error);

async function answersOf(node, views) {
  const answers = [];
  for (let at = 0; at < views.length; at += BATCH)
    answers.push(...await node.batch(views.slice(at, at + BATCH).map((view) => view.request)));
  return answers.map(noteOf);
}

function compareViews(views, embedded, evm) {
  views.forEach((view, i) => {
    if (embedded[i] !== evm[i]) throw new Difference(`${view.label}\n  embedded ${embedded[i]}\n  evm      ${evm[i]}`);
    view.note?.(embedded[i]);
  });
}

// ------------------------------------------------------------------------------------------------------ runs

function describe(event) {
  let parsed = null;
  for (const abi of [hubAbi, tokenAbi]) parsed ??= abi.parseLog(event);
  return parsed ? `${event.address} ${parsed.name}(${parsed.args.join(', ')})` : JSON.stringify(event);
}

function compareOutcomes(embedded, evm) {
  if (embedded.name !== evm.name || embedded.data !== evm.data)
    throw new Difference(`outcome\n  embedded ${embedded.name} ${embedded.data}\n  evm      ${evm.name} ${evm.data}`);
  const [one, other] = [embedded.events, evm.events].map((events) => JSON.stringify(events));
  if (one !== other)
    throw new Difference(`events\n  embedded\n    ${embedded.events.map(describe).join('\n    ')}\n  evm\n    ${evm.events.map(describe).join('\n    ')}`);
}

async function step(world, twins, call, everything) {
  const nonce = world.nonces.get(call.from) ?? 0;
  const transaction = {
    type: 2, chainId: CHAIN_ID, nonce, to: call.to, data: call.data, value: call.value, gasLimit: GAS, maxFeePerGas: 0,
    maxPriorityFeePerGas: 0,
  };
  const raw = await call.from.signTransaction(transaction);
  const message = { from: call.from.address, to: call.to, data: call.data, value: hexOf(call.value), gas: hexOf(GAS) };
  const views = viewsOf(world, call, everything);
  const [embedded, evm] = await Promise.all([
    askEmbedded(twins.embedded, message, raw, ethers.keccak256(raw), world.time, views),
    askEvm(twins.evm, message, raw, world.time, views)]);
  world.nonces.set(call.from, nonce + 1);
  world.now = world.time;
  compareOutcomes(embedded, evm);
  compareViews(views, embedded.views, evm.views);
  return evm;
}

/** Plays one run into `coverage`. Returns what went wrong, or undefined. tell: called after each call. */
export async function play(seed, calls, coverage, tell) {
  const random = new Random(seed);
  const options = { challengePeriod: random.pick([23, 101, 807]), bountyBps: random.pick([0, 1000, 4999, 5000]), deployer };
  const world = new World(random, options);
  world.nonces = new Map();
  const twins = await startTwins(world.hub.address, options);
  let call, at = 0;
  try {
    for (call of setUp(world)) {
      world.time = world.now + 1n;
      coverage.count(call.function, await step(world, twins, call, false));
    }
    for (at = 1; at <= calls; at++) {
      world.time = world.nextTime();
      call = randomCall(world);
      coverage.count(call.function, await step(world, twins, call, at % 100 === 0 || at === calls));
      tell();
    }
  } catch (error) {
    const where = `run ${seed}, call ${at}: ${call?.function} from ${call?.from.address} at ${world.time}, value ${call?.value}`;
    return `${error instanceof Difference ? 'DIFFERENT' : 'FAILED'}: ${where}\n${call?.data}\n`
      + `${error instanceof Difference ? error.message : error.stack}\n`
      + `play it again: node tests/evm/differential.mjs --run '${seed}' --calls ${calls}`;
  } finally {
    await twins.stop();
  }
  return undefined;
}

/** As a worker: {seed, calls} in; {done} as it goes on, then {seed, problem, coverage} out. */
if (process.send) {
  // Also when whoever started it is gone: the ledgers end with this process.
  process.on('disconnect', () => process.exit(0));
  process.on('message', async ({ seed, calls }) => {
    const coverage = new Coverage();
    let done = 0;
    const tell = () => { if (++done % TELL_EVERY === 0) process.send({ done: TELL_EVERY }); };
    const problem = await play(seed, calls, coverage, tell);
    process.send({ done: done % TELL_EVERY, seed, problem, coverage: coverage.toJSON() });
  });
}
