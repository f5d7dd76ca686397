// What the contract costs, measured: real transactions on anvil, the receipts' gasUsed divided by the channels of the
// batch. Figures repeat to the unit, so docs/gas.md is held to them: its tables are written here (--write), and a page
// that says anything else fails.
// Usage: node tests/evm/gas.mjs [--write]      figures for programs: build/gas.json
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { project } from './twins.mjs';
import { COIN } from './world.mjs';
import { GasHub } from './gas_hub.mjs';
import { partsOf } from './gas_parts.mjs';

const SIZES = [1, 10, 100, 500];
const SPLIT_SIZE = 100; // the batch that is taken apart
const OPERATIONS = ['open', 'settle', 'settle_payout'];
const DISPUTES = {
  dispute: { says: 'the hub answers', options: {} },
  dispute_by_tower: { says: "the hub's tower answers, and earns a bounty", options: { byTower: true } },
  dispute_with_locks: { says: 'the same, every claim with locks', options: { byTower: true, locks: true } },
};
const PAGE = join(project, 'docs', 'gas.md');

const perChannel = (gas, size) => Math.round(gas / size);
const spaced = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ',');

/** Each operation on `size` fresh channels: {open, settle, settle_payout}, each a transaction. */
async function measureBatch(hub, asset, size, more) {
  const salt = BigInt(size);
  return {
    open: await hub.open(asset, salt, size, more),
    settle: await hub.settle(asset, salt, size, { seq: 1, payout: false, ...more }),
    settle_payout: await hub.settle(asset, salt, size, { seq: 2, payout: true, ...more }),
  };
}

async function measureAsset(hub, asset) {
  await hub.warm(asset, Math.max(...SIZES));
  const figures = Object.fromEntries(OPERATIONS.map((name) => [name, {}]));
  for (const size of SIZES)
    for (const [name, { gas }] of Object.entries(await measureBatch(hub, asset, size))) figures[name][size] = perChannel(gas, size);
  let salt = 10_000n;
  for (const [name, { options }] of Object.entries(DISPUTES)) figures[name] = await hub.dispute(asset, salt++, options);
  return figures;
}

async function measureOnce(options, use) {
  const hub = await GasHub.start(options);
  try {
    return await use(hub);
  } finally {
    await hub.stop();
  }
}

/** Each operation with coins at SPLIT_SIZE, as `take` sees its transaction. */
async function brief(options, take, more) {
  return measureOnce(options, async (hub) => {
    await hub.warm(COIN, SPLIT_SIZE);
    const taken = {};
    for (const [name, transaction] of Object.entries(await measureBatch(hub, COIN, SPLIT_SIZE, more)))
      taken[name] = await take(transaction, hub);
    return taken;
  });
}

const gasOf = ({ gas }) => perChannel(gas, SPLIT_SIZE);

async function sharesOf(transaction, hub) {
  const parts = Object.entries(await partsOf(hub.node, transaction));
  return Object.fromEntries(parts.map(([part, gas]) => [part, perChannel(gas, SPLIT_SIZE)]));
}

async function measure() {
  const newest = await measureOnce({}, async (hub) => {
    const coin = await measureAsset(hub, COIN);
    return { hardfork: hub.hardfork, ...coin, token: await measureAsset(hub, await hub.listToken()) };
  });
  return {
    ...newest,
    parts: await brief({ traced: true }, sharesOf),
    cancun: await brief({ hardfork: 'cancun' }, gasOf),
    with_access_list: await brief({}, gasOf, { accessList: true }),
  };
}

// ------------------------------------------------------------------------------------------------- tables

function table(head, rows) {
  const lines = [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows];
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const names = { open: 'open', settle: 'settle', settle_payout: 'settle with a payout' };

function tableOfBatches(figures) {
  const row = (of, name, what) => [`${names[name]}${what}`, ...SIZES.map((size) => spaced(of[name][size]))];
  return table(['gas per channel, in a batch of', ...SIZES.map(spaced)], [
    ...OPERATIONS.map((name) => row(figures, name, '')), ...OPERATIONS.map((name) => row(figures.token, name, ', ERC-20'))]);
}

function tableOfDisputes(figures) {
  const row = (of, name, what) => [`${DISPUTES[name].says}${what}`,
    ...['startClose', 'challenge', 'finish', 'total'].map((step) => spaced(of[name][step]))];
  return table(['gas of a dispute', 'startClose', 'challenge', 'finish', 'together'], [
    ...Object.keys(DISPUTES).map((name) => row(figures, name, '')), row(figures.token, 'dispute', ', ERC-20')]);
}

const says = {
  base: "the transaction's 21,000, shared", calldata: 'calldata, by its bytes', storage: "storage: the channel's slot, pool and batch number shared",
  ecrecover: "the client's signature: ecrecover", events: 'events', hashes: 'keccak: id, slot, message, digest',
  payouts: 'the payout: a call with a value to a cold address', execution: 'everything else that is executed',
};

function tableOfParts({ parts }) {
  const sum = (of) => Object.values(of).reduce((total, gas) => total + gas);
  const row = (says_, gas) => [says_, ...OPERATIONS.map((name) => spaced(gas(parts[name])))];
  return table([`gas per channel, in a batch of ${SPLIT_SIZE}`, ...OPERATIONS.map((name) => names[name])], [
    ...Object.keys(says).map((part) => row(says[part], (of) => of[part])),
    row('**together** (each part is rounded)', sum), row('together, if nothing else were executed', (of) => sum(of) - of.execution)]);
}

function tableOfWays(figures) {
  const row = (says_, of) => [says_, ...OPERATIONS.map((name) => spaced(of[name]))];
  return table([`gas per channel, in a batch of ${SPLIT_SIZE}`, ...OPERATIONS.map((name) => names[name])], [
    row(`on ${figures.hardfork}, anvil's newest`, Object.fromEntries(OPERATIONS.map((name) => [name, figures[name][SPLIT_SIZE]]))),
    row('on cancun', figures.cancun), row('with an access list', figures.with_access_list)]);
}

/** The page with its measured parts put in: each stands between <!-- NAME --> and <!-- end -->. */
function pageWith(page, tables) {
  return page.replace(/<!-- (\w+) -->\n[^]*?<!-- end -->/g, (all, name) => {
    if (!tables[name]) throw new Error(`docs/gas.md asks for a table '${name}' that is not made`);
    return `<!-- ${name} -->\n${tables[name]}\n<!-- end -->`;
  });
}

const { values: flags } = parseArgs({ options: { write: { type: 'boolean', default: false } } });
const figures = await measure();
const tables = {
  batches: tableOfBatches(figures), disputes: tableOfDisputes(figures), parts: tableOfParts(figures), ways: tableOfWays(figures),
};
mkdirSync(join(project, 'build'), { recursive: true });
writeFileSync(join(project, 'build', 'gas.json'), JSON.stringify(figures, null, 1) + '\n');
console.log(Object.values(tables).join('\n\n') + '\n');

const page = readFileSync(PAGE, 'utf8'), wanted = pageWith(page, tables);
if (Object.keys(tables).some((name) => !page.includes(`<!-- ${name} -->`))) throw new Error('docs/gas.md lacks a table');
const isStale = page !== wanted;
if (isStale && flags.write) writeFileSync(PAGE, wanted);
if (isStale) console.log(flags.write ? 'docs/gas.md is written anew' : "docs/gas.md has other figures: look at them, then run 'make gas-page'");
const failed = isStale && !flags.write ? 1 : 0;
console.log(`gas: build/gas.json is written, docs/gas.md compared:\n${1 - failed} passed, ${failed} failed`);
process.exit(failed);
