// The two ledgers side by side: rill-ledgerd, and anvil with the Solidity contract at the same addresses, so that the
// same signed transaction goes to both. Time only moves as the test says.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const project = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const require = createRequire(join(project, 'ledger', 'contracts', 'package.json'));
export const { ethers } = require('ethers');

export const CONTRACT = '0x52696c6c00000000000000000000000000000001';
export const FACTORY = '0x52696c6c00000000000000000000000000000002';
const COINBASE = '0x52696c6c00000000000000000000000000000003';
export const CHAIN_ID = 31337;
// Later than any clock, so that a seed plays the same on every day.
export const GENESIS_TIME = 4_000_000_000;
// Where it exists, the embedded ledger's blocks are made durable in memory: what is compared here is not the disk.
const MEMORY_FOLDER = '/dev/shm';
const ANSWER_LIMIT_MS = 120_000;
const START_LIMIT_MS = 20_000;
const MINED_LIMIT_MS = 20_000;
const STOP_LIMIT_MS = 20_000;

export const hexOf = (number) => '0x' + BigInt(number).toString(16);

export function artifact(name) {
  const path = join(project, 'build', 'contracts', `${name}.json`);
  if (!existsSync(path)) throw new Error(`${path} is missing: run 'node ledger/contracts/compile.mjs'`);
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** The text that a POST is answered with. */
function post(url, agent, body) {
  return new Promise((answered, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const sent = request(url, { method: 'POST', agent, headers, timeout: ANSWER_LIMIT_MS }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => answered(Buffer.concat(chunks).toString('utf8')));
      response.on('error', reject);
    });
    sent.on('error', reject);
    sent.on('timeout', () => sent.destroy(new Error(`${url}: no answer in ${ANSWER_LIMIT_MS / 1000} s`)));
    sent.end(body);
  });
}

/** One JSON-RPC endpoint. A refusal is an answer here: {result} or {error}. */
export class Node {
  constructor(name, process_) {
    this.name = name;
    this.process = process_;
    this.url = '';
    this.output = '';
    this.agent = new Agent({ keepAlive: true });
    // A test that is ended before its time leaves no ledger running.
    const end = () => process_.kill('SIGKILL');
    process.once('exit', end);
    process_.once('exit', () => process.off('exit', end));
    for (const stream of [process_.stdout, process_.stderr])
      stream.on('data', (bytes) => { this.output = (this.output + bytes).slice(-4000); });
  }

  async batch(requests) {
    const body = JSON.stringify(requests.map(([method, params], id) => ({ jsonrpc: '2.0', id, method, params })));
    const answers = JSON.parse(await post(this.url, this.agent, body));
    if (!Array.isArray(answers) || answers.length !== requests.length)
      throw new Error(`${this.name}: not an answer to a batch: ${JSON.stringify(answers).slice(0, 300)}`);
    return answers.sort((a, b) => a.id - b.id);
  }

  /** The result; throws where there is none. */
  async ask(method, ...params) {
    const [answer] = await this.batch([[method, params]]);
    if (answer.error) throw new Error(`${this.name}: ${method}: ${JSON.stringify(answer.error)}`);
    return answer.result;
  }

  /** Of a transaction that was sent: anvil answers before its block is made. */
  async receipt(hash) {
    const end = Date.now() + MINED_LIMIT_MS;
    while (Date.now() < end) {
      const receipt = await this.ask('eth_getTransactionReceipt', hash);
      if (receipt) return receipt;
    }
    throw new Error(`${this.name}: transaction ${hash} was not mined`);
  }

  async stop() {
    this.agent.destroy();
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const gone = once(this.process, 'exit');
    this.process.kill('SIGTERM');
    const impatience = setTimeout(() => {
      console.error(`${this.name} did not stop at SIGTERM, and is killed`);
      this.process.kill('SIGKILL');
    }, STOP_LIMIT_MS);
    await gone;
    clearTimeout(impatience);
  }
}

/** Waits for `look()` to give something; fails if the process ends first, or too much time passes. */
export async function started(node, look) {
  const end = Date.now() + START_LIMIT_MS;
  while (Date.now() < end && node.process.exitCode === null) {
    const found = look();
    if (found) return found;
    await new Promise((waited) => setTimeout(waited, 10));
  }
  throw new Error(`${node.name} did not start:\n${node.output}`);
}

export async function startLedgerd(folder, options, more = []) {
  const portFile = join(folder, 'port');
  const flags = ['--folder', join(folder, 'ledger'), '--port', '0', '--port-file', portFile, '--dev',
    '--challenge-period', String(options.challengePeriod), '--bounty-bps', String(options.bountyBps),
    '--base-fee', '0', '--chain-id', String(CHAIN_ID), '--log-level', 'warn', ...more];
  const node = new Node('rill-ledgerd', spawn(resolve(project, process.env.RILL_BIN ?? 'bin', 'rill-ledgerd'), flags));
  const port = await started(node, () => existsSync(portFile) && readFileSync(portFile, 'utf8').trim());
  node.url = `http://127.0.0.1:${port}`;
  return node;
}

export async function startAnvil(flags) {
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const manifest = require.resolve(`@foundry-rs/anvil-${process.platform}-${architecture}/package.json`);
  const node = new Node('anvil', spawn(join(dirname(manifest), 'bin', 'anvil'),
    ['--host', '127.0.0.1', '--port', '0', '--chain-id', String(CHAIN_ID), ...flags]));
  const listening = /Listening on 127\.0\.0\.1:(\d+)/;
  const [, port] = await started(node, () => listening.exec(node.output));
  node.url = `http://127.0.0.1:${port}`;
  return node;
}

/** The contract's code with this configuration, put where the embedded ledger has its twin. */
async function installContracts(anvil, hub, options) {
  // Tips go where the embedded ledger's go, and not to address zero, which is looked at.
  await anvil.ask('anvil_setCoinbase', COINBASE);
  const deploy = async (name, types, values) => {
    const data = artifact(name).bytecode + ethers.AbiCoder.defaultAbiCoder().encode(types, values).slice(2);
    const hash = await anvil.ask('eth_sendTransaction', { from: options.deployer, data, gas: hexOf(15_000_000) });
    const { contractAddress } = await anvil.receipt(hash);
    return anvil.ask('eth_getCode', contractAddress, 'latest');
  };
  const code = await deploy('RillHub', ['address', 'uint64', 'uint16'],
    [hub, options.challengePeriod, options.bountyBps]);
  await anvil.ask('anvil_setCode', CONTRACT, code);
  await anvil.ask('anvil_setCode', FACTORY, await deploy('RillTokenFactory', [], []));
  // A contract's first nonce: the tokens then get the same addresses on both sides.
  await anvil.ask('anvil_setNonce', FACTORY, '0x1');
}

/** Both ledgers, fresh. options: challengePeriod, bountyBps, deployer (an account that the test does not use). */
export async function startTwins(hub, options) {
  const folder = mkdtempSync(join(existsSync(MEMORY_FOLDER) ? MEMORY_FOLDER : tmpdir(), 'rill-evm-'));
  const nodes = [];
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  const stop = async () => {
    for (const node of nodes) await node.stop();
    remove();
    process.off('exit', remove);
  };
  try {
    nodes.push(await startLedgerd(folder, options));
    nodes.push(await startAnvil(['--block-base-fee-per-gas', '0', '--gas-price', '0', '--timestamp',
      String(GENESIS_TIME - 10), '--balance', '10000']));
    await installContracts(nodes[1], hub, options);
  } catch (error) {
    await stop();
    throw error;
  }
  const [embedded, evm] = nodes;
  return { embedded, evm, stop };
}
