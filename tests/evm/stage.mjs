// A ledger of either kind, a token on it, a real hub, wallets of the command line and of client.mjs, and a wire between
// them that can be cut.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { Wallet } from './client.mjs';
import {
  CHAIN_ID, CONTRACT, FACTORY, Node, artifact, ethers, project, startAnvil, startLedgerd, started,
} from './twins.mjs';
import { domainOf, openSession } from './wire.mjs';
import { wallets as accounts } from './world.mjs';

const programs = resolve(project, process.env.RILL_BIN ?? 'bin');

const PASSPHRASE = 'of the tests';
const SUPPLY = 1_000_000_000_000n, POOL = 500_000_000_000n, PURSE = 1_000_000_000n;
const CHALLENGE_PERIOD = 60, BOUNTY_BPS = 1000;
const HUB = 0, DEPLOYER = 9;

/** Between a wallet and the hub: may be deaf in either direction, and may be cut. */
export class Cable {
  constructor(port) {
    this.isDeafToHub = this.isDeafToClient = false;
    this.pairs = new Set();
    this.server = net.createServer((near) => {
      const far = net.connect(port, '127.0.0.1'), pair = [near, far];
      this.pairs.add(pair);
      near.on('data', (bytes) => this.isDeafToClient || far.write(bytes));
      far.on('data', (bytes) => this.isDeafToHub || near.write(bytes));
      for (const socket of pair) {
        socket.on('error', () => {});
        socket.on('close', () => { pair.forEach((one) => one.destroy()); this.pairs.delete(pair); });
      }
    });
  }

  async listen() {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = this.server.address().port;
    return this;
  }

  cut() {
    for (const pair of this.pairs) pair.forEach((socket) => socket.destroy());
    this.isDeafToHub = this.isDeafToClient = false;
  }

  close() {
    this.cut();
    this.server.close();
  }
}

export class Stage {
  static async start(kind) {
    const stage = new this();
    stage.folder = mkdtempSync(join(tmpdir(), 'rill-client-'));
    stage.stopped = [];
    try {
      await stage.startLedger(kind);
      await stage.issue();
      await stage.startHub();
    } catch (error) {
      await stage.stop();
      throw error;
    }
    return stage;
  }

  async stop() {
    const problems = [];
    for (const stop of this.stopped.splice(0).reverse())
      await Promise.resolve(stop()).catch((error) => problems.push(error));
    rmSync(this.folder, { recursive: true, force: true });
    if (problems.length > 0) throw problems[0];
  }

  async startLedger(kind) {
    const isEvm = kind === 'anvil';
    const options = { challengePeriod: CHALLENGE_PERIOD, bountyBps: BOUNTY_BPS };
    // A base fee of zero makes ethers believe that the chain is older than EIP-1559.
    this.ledger = isEvm ? await startAnvil(['--block-time', '1', '--mixed-mining'])
      : await startLedgerd(this.folder, options, ['--idle-block-ms', '200', '--base-fee', '1000000000']);
    this.stopped.push(() => this.ledger.stop());
    this.provider = new ethers.JsonRpcProvider(this.ledger.url, CHAIN_ID,
      { staticNetwork: true, pollingInterval: 100, cacheTimeout: -1 });
    this.stopped.push(() => this.provider.destroy());
    this.hub = accounts[HUB];
    const deploy = async (name, ...values) => {
      const { abi, bytecode } = artifact(name);
      const contract = await new ethers.ContractFactory(abi, bytecode, this.account(DEPLOYER)).deploy(...values);
      await contract.waitForDeployment();
      return contract.getAddress();
    };
    this.address = isEvm ? await deploy('RillHub', this.hub.address, CHALLENGE_PERIOD, BOUNTY_BPS) : CONTRACT;
    this.factory = isEvm ? await deploy('RillTokenFactory') : FACTORY;
    this.domain = domainOf(CHAIN_ID, this.address);
    this.contract = new ethers.Contract(this.address, artifact('RillHub').abi, this.account(DEPLOYER));
  }

  account(index) { return accounts[index].connect(this.provider); }

  /** A token that the hub lists; some for the hub's pool, some for each account. */
  async issue() {
    const deployer = new ethers.NonceManager(this.account(DEPLOYER));
    const done = async (sending) => (await sending).wait();
    const factory = new ethers.Contract(this.factory, artifact('RillTokenFactory').abi, deployer);
    const { logs } = await done(factory.create('Test dollar', 'USDT', 6, SUPPLY));
    const events = logs.map((log) => factory.interface.parseLog(log));
    this.asset = events.find((event) => event?.name === 'TokenCreated').args.token;
    this.token = new ethers.Contract(this.asset, artifact('RillToken').abi, deployer);
    await done(this.contract.connect(this.account(HUB)).listAsset(this.asset, 1));
    await done(this.token.approve(this.address, POOL));
    await done(this.contract.connect(deployer).depositPool(this.asset, POOL));
    for (const { address } of accounts.slice(1, DEPLOYER)) await done(this.token.transfer(address, PURSE));
  }

  start(name, program, flags) {
    const env = { ...process.env, RILL_PASSPHRASE: PASSPHRASE, RILL_HUBD_PASSPHRASE: PASSPHRASE };
    const running = new Node(name, spawn(join(programs, program), flags, { env }));
    this.stopped.push(() => running.stop());
    return running;
  }

  async startHub() {
    this.home = {};
    await this.wallet('hub', HUB);
    const portFile = join(this.folder, 'ports');
    this.hubd = this.start('rill-hubd', 'rill-hubd', ['--data', join(this.folder, 'hub-data'),
      '--listen', '127.0.0.1:0', '--http', '127.0.0.1:0', '--port-file', portFile,
      '--key-file', join(this.home.hub, 'key.json'), '--ledger', this.ledger.url, '--contract', this.address,
      '--confirmations', '1', '--poll-ms', '50', '--settle-interval-s', '1', '--shards', '2']);
    const ports = await started(this.hubd, () => existsSync(portFile) && readFileSync(portFile, 'utf8').trim());
    [this.port] = ports.split(' ').map(Number);
  }

  /** A wallet of the command line, with the key of a development account. */
  async wallet(name, index) {
    this.home[name] = join(this.folder, name);
    const keyFile = join(this.folder, `${name}.key`);
    writeFileSync(keyFile, accounts[index].privateKey.slice(2), { mode: 0o600 });
    const { code, errors } = await this.rill(name, ['init', '--import-key', keyFile, '--light',
      '--ledger', this.ledger.url, '--contract', this.address, '--confirmations', '1',
      '--hub', `127.0.0.1:${this.port ?? 1}`]);
    if (code !== 0) throw new Error(`rill init: ${errors}`);
  }

  /** Runs a command of `rill` (or another program with a wallet's home) to its end: { code, output, errors }. */
  async rill(name, words, program = 'rill') {
    const running = spawn(join(programs, program), [...words, '--home', this.home[name], '--timeout-s', '60'],
      { env: { ...process.env, RILL_PASSPHRASE: PASSPHRASE }, stdio: ['ignore', 'pipe', 'pipe'] });
    const text = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr']) running[stream].on('data', (bytes) => { text[stream] += bytes; });
    const [code] = await once(running, 'close');
    return { code, output: text.stdout, errors: text.stderr };
  }

  /** A merchant's terminal: type(line), and what it prints, line by line. */
  listen(name) {
    const running = this.start(`rill listen of ${name}`, 'rill', ['listen', '--home', this.home[name]]);
    const lines = createInterface({ input: running.process.stdout })[Symbol.asyncIterator]();
    const next = async () => {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${running.name} ended:\n${running.output}`);
      return value;
    };
    return { next, type: (line) => running.process.stdin.write(`${line}\n`), stop: () => running.stop() };
  }

  /** The port of the shard that serves this account: where REDIRECT leads. */
  async shardOf(index) {
    const { socket } = await openSession({
      host: '127.0.0.1', port: this.port, client: accounts[index].address.toLowerCase(), signer: this.account(index),
      domain: this.domain, hub: this.hub.address.toLowerCase(),
    });
    const { remotePort } = socket;
    socket.destroy();
    return remotePort;
  }

  /** A wallet of client.mjs, behind a cable of its own; `more` may say otherwise what its options are. */
  async client(index, more = {}) {
    const cable = await new Cable(await this.shardOf(index)).listen();
    this.stopped.push(() => cable.close());
    const wallet = new Wallet({
      signer: this.account(index), provider: this.provider, domain: this.domain, hub: this.hub.address,
      host: '127.0.0.1', port: cable.port, asset: this.asset, file: join(this.folder, `client-${index}.json`),
      confirmations: 1, pollMs: 50, ...more,
    });
    wallet.cable = cable;
    wallet.troubles = [];
    wallet.on('trouble', (error) => wallet.troubles.push(error));
    this.stopped.push(() => wallet.stop());
    return wallet;
  }
}
