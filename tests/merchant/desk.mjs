// Ledger, hub and wallets of tests/evm/stage.mjs, and shops' servers (rill-merchantd), any number of them.
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Cable, Stage } from '../evm/stage.mjs';

export { Cable };
export const SHOP = 1, PAYER = 2, OTHER = 3;

/** One HTTP request on a connection of its own: { status, headers, text, json }. */
export function ask(url, method, path, { key, body, headers = {} } = {}) {
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  const all = { ...headers };
  if (key) all.authorization = `Bearer ${key}`;
  if (text !== undefined && all['content-type'] === undefined) all['content-type'] = 'application/json';
  if (text !== undefined) all['content-length'] = Buffer.byteLength(text);
  return new Promise((resolve, reject) => {
    const request = http.request(url + path, { method, headers: all, agent: false }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        const said = Buffer.concat(parts).toString();
        const isJson = /^application\/json/.test(response.headers['content-type'] ?? '');
        resolve({ status: response.statusCode, headers: response.headers, text: said, json: isJson && said ? JSON.parse(said) : undefined });
      });
    });
    request.on('error', reject);
    request.end(text);
  });
}

/** Bytes as they are, until the server closes; what it said. */
export async function raw(port, bytes, { wait = 20000 } = {}) {
  const socket = net.connect(port, '127.0.0.1');
  let said = '';
  socket.on('data', (part) => { said += part; });
  socket.on('error', () => {});
  const timer = setTimeout(() => socket.destroy(new Error('no end')), wait);
  await once(socket, 'connect');
  socket.write(bytes);
  await once(socket, 'close');
  clearTimeout(timer);
  return said;
}

/** A stream of server-sent events: next() is the next event, { id, event, data }. */
export class Stream {
  static async open(url, path, { key, last } = {}) {
    const stream = new Stream();
    const headers = { accept: 'text/event-stream' };
    if (key) headers.authorization = `Bearer ${key}`;
    if (last) headers['last-event-id'] = last;
    stream.request = http.get(url + path, { headers, agent: false });
    [stream.response] = await once(stream.request, 'response');
    stream.response.on('error', () => {});
    stream.status = stream.response.statusCode;
    stream.lines = createInterface({ input: stream.response })[Symbol.asyncIterator]();
    return stream;
  }

  async next() {
    const event = {};
    for (;;) {
      const { value, done } = await this.lines.next();
      if (done) throw new Error('the stream ended');
      if (value === '' && event.data !== undefined) return event;
      const [, name, text] = /^(id|event|data): (.*)$/.exec(value) ?? [];
      if (name) event[name] = name === 'data' ? JSON.parse(text) : text;
    }
  }

  close() { this.request.destroy(); }
}

export class Merchant {
  constructor(desk, name, flags) {
    Object.assign(this, { desk, name, flags, port: 0 });
  }

  async start() {
    const portFile = join(this.desk.folder, `${this.name}.port`);
    rmSync(portFile, { force: true });
    this.running = this.desk.start(`rill-merchantd of ${this.name}`, 'rill-merchantd', ['serve', '--home', this.desk.home[this.name],
      '--listen', `127.0.0.1:${this.port}`, '--port-file', portFile, ...this.flags]);
    while (!existsSync(portFile)) {
      if (this.running.process.exitCode !== null) throw new Error(`${this.running.name} ended:\n${this.running.output}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    this.port = Number(readFileSync(portFile, 'utf8'));
    this.url = `http://127.0.0.1:${this.port}`;
    return this;
  }

  async kill() {
    const ended = once(this.running.process, 'exit');
    this.running.process.kill('SIGKILL');
    await ended;
  }

  ask(method, path, options) { return ask(this.url, method, path, options); }

  /** What must succeed: its JSON. */
  async must(method, path, body, { key = this.key, headers } = {}) {
    const answer = await this.ask(method, path, { key, body, headers });
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return answer.json;
  }

  invoice(body) { return this.must('POST', '/v1/invoices', body); }

  /** Asks until it holds. */
  async until(what, path, holds) {
    for (const end = Date.now() + 200000; Date.now() < end;) {
      const answer = await this.ask('GET', path, { key: this.key });
      if (answer.status === 200 && holds(answer.json)) return answer.json;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`in vain: ${what}\n${this.running.output}`);
  }

  connected() { return this.until('the hub', '/v1/balance', ({ connected, balances }) => connected && balances.every((one) => one.synced)); }
  paid(id) { return this.until(`${id} paid`, `/v1/invoices/${id}`, (invoice) => invoice.state === 'paid'); }
}

export class Desk extends Stage {
  static async open({ room = '80' } = {}) {
    const desk = await Desk.start('ledgerd');
    try {
      await desk.wallet('shop', SHOP);
      await desk.wallet('ada', PAYER);
      await desk.command('shop', ['open', room]);
      await desk.command('ada', ['deposit', '80']);
    } catch (error) {
      await desk.stop();
      throw error;
    }
    return desk;
  }

  /** What a command prints; it must succeed. */
  async command(name, words, program = 'rill') {
    const { code, output, errors } = await this.rill(name, words, program);
    if (code !== 0) throw new Error(`${program} ${words.join(' ')}: ${errors}${output}`);
    return output;
  }

  pay(invoice, ...more) { return this.command('ada', ['pay', invoice.text ?? invoice, ...more]); }

  async key(name, scope) {
    return /rk_\w+/.exec(await this.command(name, ['keys', 'create', '--scope', scope], 'rill-merchantd'))[0];
  }

  /** A server on a wallet's home, with a key that may do everything. */
  async merchant(name, flags = []) {
    const merchant = new Merchant(this, name, flags);
    merchant.key = await this.key(name, 'read,invoice,payout');
    return merchant.start();
  }

  /** An invoice of the customer's, from a terminal that stays open until it is stopped. */
  async customerInvoice(amount) {
    this.terminal ??= this.listen('ada');
    this.terminal.type(amount);
    for (;;) {
      const text = /rill:[A-Z2-7]{100,}/.exec(await this.terminal.next())?.[0];
      if (text) return text;
    }
  }

  async hangUp() {
    await this.terminal?.stop();
    this.terminal = undefined;
  }
}
