// The embedded ledger and the Solidity contract, call by call: the same outcome, the same events, the same views, the
// same balances. Every run is a fresh pair of ledgers with a seed of its own, printed if it fails, and can be played
// again alone.
// Usage: node tests/evm/differential.mjs [--seed S] [--calls N]
//        node tests/evm/differential.mjs --run 'S/3'          the one run that failed
import { parseArgs } from 'node:util';
import { CHAIN_ID, CONTRACT, ethers, hexOf, startTwins } from './twins.mjs';
import { COIN, World, deployer, hubAbi, tokenAbi } from './world.mjs';
import { randomCall, setUp } from './calls.mjs';
import { Random } from './random.mjs';

const RUN_CALLS = 500;
const GAS = 8_000_000;

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

async function execute(node, call, raw, hash, time) {
  const message = { from: call.from.address, to: call.to, data: call.data, value: hexOf(call.value), gas: hexOf(GAS) };
  // The embedded ledger looks at the time that the next block will have; anvil has to be told.
  const more = node.name === 'anvil' ? [{}, { time: hexOf(time) }] : [];
  await node.ask('evm_setNextBlockTimestamp', Number(time));
  const [dry] = await node.batch([['eth_call', [message, 'latest', ...more]]]);
  await node.ask('eth_sendRawTransaction', raw);
  const receipt = await node.receipt(hash);
  const outcome = outcomeOf(dry);
  const success = receipt.status === '0x1';
  if (success !== (outcome.name === 'ok'))
    throw new Difference(`${node.name}: eth_call says ${outcome.name}, the transaction's status is ${receipt.status}`);
  const events = receipt.logs.map(({ address, topics, data }) => ({ address: address.toLowerCase(), topics, data }));
  return { ...outcome, events, gas: Number(receipt.gasUsed) };
}

// ----------------------------------------------------------------------------------------------------- views

/** Each view of what the call may have touched: [label, method, params, how to note it]. */
function viewsOf(world, call, everything) {
  const views = [];
  const ask = (abi, to, name, values, note) => views.push({
    label: `${name}(${values.flat().join(', ')})`, note: note && ((data) => note(abi.decodeFunctionResult(name, data))),
    request: ['eth_call', [{ from: ethers.ZeroAddress, to, data: abi.encodeFunctionData(name, values) }, 'latest']],
  });
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

async function answersOf(node, views) {
  const answers = [];
  for (let at = 0; at < views.length; at += BATCH)
    answers.push(...await node.batch(views.slice(at, at + BATCH).map((view) => view.request)));
  return answers.map((answer) => answer.result ?? JSON.stringify(answer.error));
}

async function compareViews(world, twins, call, everything) {
  const views = viewsOf(world, call, everything);
  const [embedded, evm] = await Promise.all([answersOf(twins.embedded, views), answersOf(twins.evm, views)]);
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
  const hash = ethers.keccak256(raw);
  const [embedded, evm] = await Promise.all(
    [twins.embedded, twins.evm].map((node) => execute(node, call, raw, hash, world.time)));
  world.nonces.set(call.from, nonce + 1);
  world.now = world.time;
  compareOutcomes(embedded, evm);
  await compareViews(world, twins, call, everything);
  return evm;
}

/** One run; false if the ledgers differ. tally: function -> outcome -> [how often, gas]; features: path -> how often. */
async function play(seed, calls, tally, features) {
  const random = new Random(seed);
  const options = { challengePeriod: random.pick([23, 101, 807]), bountyBps: random.pick([0, 1000, 4999, 5000]), deployer };
  const world = new World(random, options);
  world.nonces = new Map();
  const twins = await startTwins(world.hub.address, options);
  const count = async (call, everything) => {
    const { name, gas, events } = await step(world, twins, call, everything);
    for (const feature of events.flatMap(featuresOf)) features.set(feature, (features.get(feature) ?? 0) + 1);
    const row = tally.get(call.function) ?? tally.set(call.function, new Map()).get(call.function);
    const [times, sum] = row.get(name) ?? [0, 0];
    row.set(name, [times + 1, sum + gas]);
  };
  let call, at = 0;
  try {
    for (call of setUp(world)) {
      world.time = world.now + 1n;
      await count(call, false);
    }
    for (at = 1; at <= calls; at++) {
      world.time = world.nextTime();
      call = randomCall(world);
      await count(call, at % 100 === 0 || at === calls);
    }
  } catch (error) {
    const where = `run ${seed}, call ${at}: ${call?.function} from ${call?.from.address} at ${world.time}, value ${call?.value}`;
    console.error(`${error instanceof Difference ? 'DIFFERENT' : 'FAILED'}: ${where}\n${call?.data}\n${error.message}`);
    console.error(`play it again: node tests/evm/differential.mjs --run '${seed}' --calls ${calls}`);
    if (!(error instanceof Difference)) throw error;
    return false;
  } finally {
    await twins.stop();
  }
  return true;
}

/** What an event says of the paths that were taken, for the report. */
function featuresOf(event) {
  const parsed = hubAbi.parseLog(event);
  if (!parsed) return [];
  const { name, args } = parsed;
  switch (name) {
    case 'SettleSkipped': return [`${args.fund ? 'fund' : 'item'} skipped ${args.reason}`];
    case 'Settled': return [args.close ? 'settled and closed' : 'settled'];
    case 'Challenged': return [`challenged ${args.fraud ? 'fraud' : 'no fraud'}`, `challenged by ${args.byPartner ? 'partner' : 'tower'}`];
    case 'Unlocked': return [args.toReceiver ? 'unlocked to receiver' : 'unlocked to sender'];
    case 'Finished':
      return ['toClient', 'toHub', 'heldClient', 'heldHub', 'penalty', 'bounty'].filter((part) => args[part] > 0n).map((part) => `finished with ${part}`);
    default: return [name];
  }
}

function report(tally, features) {
  for (const [name, row] of [...tally].sort())
    console.log(`${name.padEnd(20)} ${[...row].sort((a, b) => b[1][0] - a[1][0])
      .map(([outcome, [times, gas]]) => `${outcome} ${times}${outcome === 'ok' ? ` (gas ${Math.round(gas / times)})` : ''}`).join(', ')}`);
  console.log([...features].sort().map(([feature, times]) => `${feature} ${times}`).join(', '));
}

const { values: flags } = parseArgs({
  options: { seed: { type: 'string', default: 'rill' }, calls: { type: 'string', default: '2000' }, run: { type: 'string' } },
});
const calls = Number(flags.calls);
const tally = new Map(), features = new Map();
let failed = 0;
if (flags.run !== undefined) {
  failed += await play(flags.run, Math.min(calls, RUN_CALLS), tally, features) ? 0 : 1;
} else {
  for (let run = 0; run * RUN_CALLS < calls; run++)
    failed += await play(`${flags.seed}/${run}`, Math.min(RUN_CALLS, calls - run * RUN_CALLS), tally, features) ? 0 : 1;
}
report(tally, features);
console.log(failed === 0 ? `seed ${flags.run ?? flags.seed}: ${calls} calls, no difference` : `${failed} runs with a difference`);
process.exit(failed === 0 ? 0 : 1);
