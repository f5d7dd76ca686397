// Heads and bodies that are not right, slow clients, floods: clear errors, bounded memory and connections, and others are
// served meanwhile.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { Desk, Merchant, raw } from './desk.mjs';

const CONNECTIONS = 40, BODY_MAX = 32 * 1024;
const FLOOD = 32 * 1024 * 1024; // more than two sockets' buffers hold (tcp_wmem, tcp_rmem)
let desk, shop;

before(async () => {
  desk = await Desk.open();
  shop = await desk.merchant('shop', ['--connections', String(CONNECTIONS), '--rate-per-s', '1000', '--rate-burst', '1000', '--public-rate-per-s', '1000', '--trusted-front', '127.0.0.1']);
  await shop.connected();
});
after(() => desk?.stop());

const status = (said) => Number(/^HTTP\/1\.[01] (\d+)/.exec(said)?.[1] ?? 0);
const answers = (said) => said.split(/(?=HTTP\/1\.1 \d+)/).length;
const sanitized = /debug/.test(process.env.RILL_BIN ?? ''); // what was freed is kept
const memoryKib = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${shop.running.process.pid}/status`, 'utf8'))[1]);
const isWell = async () => assert.equal((await shop.ask('GET', '/v1/balance', { key: shop.key })).status, 200);

test('a head that means two things is refused, and nothing behind it is read', async () => {
  const hidden = `GET /v1/balance HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${shop.key}\r\n\r\n`;
  const post = (headers, rest) => `POST /v1/invoices HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${shop.key}\r\nContent-Type: application/json\r\n${headers}\r\n${rest}`;
  for (const [name, bytes] of [
    ['two lengths', post('Content-Length: 2\r\nContent-Length: 40\r\n', `{}${hidden}`)],
    ['length and chunks', post('Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${hidden}`)],
    ['chunks alone', post('Transfer-Encoding: chunked\r\n', `2\r\n{}\r\n0\r\n\r\n${hidden}`)],
    ['an encoding that there is not', post('Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n', `{}${hidden}`)],
    ['a length with a sign', post('Content-Length: +2\r\n', `{}${hidden}`)],
    ['a GET with a body', `GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`],
    ['a DELETE with chunks', `DELETE /v1/webhooks/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${hidden}`],
    ['a space before the colon', post('Content-Length : 2\r\n', `{}${hidden}`)],
    ['NUL in a header', post('Content-Length: 2\u0000 9\r\n', `{}${hidden}`)],
    ['NUL in the path', `GET /health\u0000z HTTP/1.1\r\nHost: x\r\n\r\n${hidden}`],
    ['two keys', `GET /v1/balance HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nAuthorization: Bearer ${shop.key}\r\n\r\n${hidden}`],
    ['two hosts', `GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n${hidden}`],
    ['no HTTP', 'hello\r\n\r\n'],
  ]) {
    const said = await raw(shop.port, bytes);
    assert.ok([400, 413].includes(status(said)), `${name}: ${said}`);
    assert.equal(answers(said), 1, `${name}: what was hidden behind it was answered: ${said}`);
  }
  await isWell();
});

test('bodies and heads that are too large are refused early', async () => {
  const before = memoryKib();
  const large = await shop.ask('POST', '/v1/invoices', { key: shop.key, body: `{"memo":"${'x'.repeat(BODY_MAX)}"}` }).catch((error) => ({ status: error.code }));
  assert.ok([413, 'ECONNRESET', 'EPIPE'].includes(large.status), String(large.status));
  assert.equal(status(await raw(shop.port, 'POST /v1/invoices HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n')), 413);
  assert.ok([400, 413].includes(status(await raw(shop.port, `GET /healthz HTTP/1.1\r\nX: ${'x'.repeat(20000)}\r\n\r\n`))));
  const deep = await shop.ask('POST', '/v1/invoices', { key: shop.key, body: `{"metadata":${'['.repeat(15000)}${']'.repeat(15000)}}` });
  assert.equal(deep.status, 400);
  assert.ok(memoryKib() - before < 20000, `grew from ${before} to ${memoryKib()} KiB`);
  await isWell();
});

test('paths lead nowhere else', async () => {
  for (const path of ['/static/../../etc/passwd', '/static/..%2f..%2fetc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '/v1/../metrics', '/v1//invoices', '/pay/..', '/pay/%00', '/pay/inv_x/../../v1/balance', '//v1/balance', '/v1/invoices/inv_..']) {
    const said = await raw(shop.port, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    assert.ok([400, 401, 404].includes(status(said)), `${path}: ${said}`);
    assert.ok(!said.includes('root:'));
  }
});

test('keys that are not one', async () => {
  for (const header of ['', 'Bearer', 'Bearer ', `Basic ${shop.key}`, shop.key, `Bearer ${shop.key}x`, `Bearer ${shop.key.slice(0, -1)}`, `Bearer rk_${'0'.repeat(12)}_${'0'.repeat(64)}`, `Bearer ${shop.key.toUpperCase()}`]) {
    const answer = await shop.ask('GET', '/v1/balance', { headers: { authorization: header } });
    assert.equal(answer.status, 401, header);
    assert.equal(answer.headers['www-authenticate'], 'Bearer');
  }
  const other = await desk.key('shop', 'read');
  assert.equal((await shop.ask('GET', '/v1/balance', { key: other })).status, 200);
  await desk.command('shop', ['keys', 'revoke', other.split('_')[1]], 'rill-merchantd');
  assert.equal((await shop.ask('GET', '/v1/balance', { key: other })).status, 401);
  const kept = readFileSync(`${desk.home.shop}/merchant-keys.json`, 'utf8');
  assert.ok(!kept.includes(shop.key.split('_')[2]), 'the file has the secret itself');
});

test('a client that sends a byte now and then is cut off, and holds nobody up', async () => {
  const slow = net.connect(shop.port, '127.0.0.1');
  await once(slow, 'connect');
  const head = `GET /healthz HTTP/1.1\r\nX: ${'y'.repeat(4000)}`;
  let at = 0;
  const drip = setInterval(() => slow.write(head[at++ % head.length]), 200);
  slow.on('error', () => {});
  slow.resume();
  const began = Date.now();
  await isWell();
  await once(slow, 'close');
  clearInterval(drip);
  assert.ok(Date.now() - began < 40000);
});

test('more connections than may be open wait, and are served when there is room', async () => {
  const idle = [];
  for (let i = 0; i < CONNECTIONS + 20; i++) {
    const socket = net.connect(shop.port, '127.0.0.1');
    socket.on('error', () => {});
    idle.push(socket);
  }
  await Promise.all(idle.map((socket) => once(socket, 'connect')));
  const waiting = shop.ask('GET', '/v1/balance', { key: shop.key });
  for (const socket of idle.slice(0, 30)) socket.destroy();
  assert.equal((await waiting).status, 200);
  const metrics = await shop.ask('GET', '/metrics', { key: shop.key });
  assert.ok(Number(/\nrill_merchant_connections (\d+)/.exec(metrics.text)[1]) <= CONNECTIONS);
  for (const socket of idle) socket.destroy();
  await isWell();
});

/** A connection that asks again and again, so that it never idles out; { socket, said, isOpen, ask() }. */
async function visitor(head) {
  const socket = net.connect(shop.port, '127.0.0.1'), self = { socket, said: '', isOpen: true };
  socket.on('error', () => {});
  socket.on('data', (part) => { self.said += part; });
  socket.on('close', () => { self.isOpen = false; });
  await once(socket, 'connect');
  self.ask = async () => {
    const before = self.said.length;
    socket.write(head);
    while (self.isOpen && self.said.length === before) await new Promise((resolve) => { socket.once('data', resolve); socket.once('close', resolve); });
  };
  await self.ask();
  return self;
}

/** Until those of the tests before have gone. */
async function alone() {
  while (/\nrill_merchant_connections (\d+)/.exec((await shop.ask('GET', '/metrics', { key: shop.key })).text)[1] !== '1');
}

test('without a key nobody keeps those out who have one', { timeout: 60000 }, async () => {
  await alone();
  const keyed = await visitor(`GET /v1/balance HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${shop.key}\r\n\r\n`);
  assert.equal(status(keyed.said), 200);
  const strangers = [];
  let isOver = false;
  // All that there are, each kept open by asking once in a while; who is closed comes again.
  const come = async () => {
    const one = await visitor('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
    strangers.push(one);
    if (isOver) one.socket.destroy();
  };
  for (let i = 0; i < CONNECTIONS - 2; i++) await come();
  assert.ok(strangers.every(({ isOpen }) => isOpen)); // there is a place left
  for (let i = 0; i < 10; i++) await come();
  const again = setInterval(() => {
    for (const one of strangers.splice(0)) {
      if (!one.isOpen) { void come(); continue; }
      strangers.push(one);
      void one.ask();
    }
  }, 500);
  for (let i = 0; i < 3; i++) await isWell();
  const before = keyed.said.length;
  await keyed.ask();
  assert.equal(status(keyed.said.slice(before)), 200, 'the connection that has a key was closed');
  clearInterval(again);
  isOver = true;
  for (const { socket } of [keyed, ...strangers]) socket.destroy();
  await isWell();
});

test('streams without a key leave room for those with one', { timeout: 60000 }, async () => {
  await alone();
  const { id } = await shop.invoice({ amount: '1' });
  const from = (address, path, more = '') => visitor(`GET ${path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: ${address}\r\n${more}\r\n`);
  const streams = [];
  const open = async (address) => {
    const stream = await from(address, `/pay/${id}/events`);
    if (status(stream.said) !== 200) { assert.match(stream.said, /too_many_streams/); stream.socket.destroy(); return false; }
    streams.push(stream);
    return true;
  };
  // One address has its part, at least four; all of them have half.
  for (let i = 0; i < 4; i++) assert.ok(await open('203.0.113.7'));
  assert.ok(!await open('203.0.113.7'));
  for (let i = 0; streams.length < CONNECTIONS / 2; i++) assert.ok(await open(`198.51.100.${i}`));
  assert.ok(!await open('198.51.100.200'));
  const keyed = await from('198.51.100.201', '/v1/events', `Authorization: Bearer ${shop.key}\r\n`);
  assert.equal(status(keyed.said), 200);
  // The rest is taken by who only sits there, and gives way.
  const idle = [];
  for (let i = 0; i < CONNECTIONS; i++) {
    const socket = net.connect(shop.port, '127.0.0.1');
    socket.on('error', () => {});
    idle.push(socket);
  }
  for (let i = 0; i < 3; i++) await isWell();
  assert.ok(streams.every(({ isOpen }) => isOpen) && keyed.isOpen, 'a stream was closed');
  for (const socket of [keyed.socket, ...streams.map((one) => one.socket), ...idle]) socket.destroy();
  await isWell();
});

test('a stream that is not read waits on disk, and costs others nothing', async () => {
  const deaf = net.connect(shop.port, '127.0.0.1');
  deaf.on('error', () => {});
  await once(deaf, 'connect');
  deaf.write(`GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${shop.key}\r\nLast-Event-ID: 0-0\r\n\r\n`);
  await once(deaf, 'readable');
  deaf.pause();
  const before = memoryKib(), memo = 'm'.repeat(250);
  for (let i = 0; i < 500; i++) await shop.invoice({ amount: '1', memo, metadata: { a: 'x'.repeat(512), b: 'x'.repeat(512), c: 'x'.repeat(512) } });
  const grown = memoryKib() - before;
  let text = '';
  deaf.on('data', (part) => { text += part; });
  deaf.resume();
  const last = (await shop.must('GET', '/v1/invoices?limit=1')).invoices[0].id;
  while (!text.includes(last)) await once(deaf, 'data');
  assert.equal(text.match(/^event: invoice\.created/gm).length, (await shop.ask('GET', '/metrics', { key: shop.key })).text.match(/invoices_created_total (\d+)/).at(-1) | 0);
  deaf.destroy();
  assert.ok(grown < 40000 * (sanitized ? 10 : 1), `grew by ${grown} KiB`);
});

test('a stream whose client has gone leaves nothing behind', async () => {
  const head = `GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${shop.key}\r\nX: ${'x'.repeat(8000)}\r\n\r\n`;
  const comeAndGo = async () => {
    const socket = net.connect(shop.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(head);
    const [part] = await once(socket, 'data');
    assert.match(part.toString(), /^HTTP\/1\.1 200 /);
    socket.destroy();
  };
  const times = async (n) => { for (let i = 0; i < n; i++) await comeAndGo(); };
  await times(100);
  const before = memoryKib();
  await times(1500);
  while (/\nrill_merchant_streams (\d+)/.exec((await shop.ask('GET', '/metrics', { key: shop.key })).text)[1] !== '0');
  const grown = memoryKib() - before;
  assert.ok(grown < 5000 * (sanitized ? 20 : 1), `grew by ${grown} KiB`);
  await isWell();
});

test('an answer to HEAD has no body, and its connection goes on', async () => {
  const head = (path, more) => `HEAD ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${shop.key}\r\n${more}\r\n`;
  const said = await raw(shop.port, head('/v1/balance', '') + head('/v1/nowhere', '') + head('/healthz', 'Connection: close\r\n'));
  assert.match(said, /^(HTTP\/1\.1 \d+ [^{]*?\r\nContent-Length: [1-9]\d*\r\n[^{]*?\r\n\r\n){3}$/);
  assert.deepEqual(said.match(/^HTTP\/1\.1 \d+/gm).map(status), [200, 404, 200]);
});

/** Sends without end on a connection whose answer goes on; how much the server and the kernels took until it was cut off. */
async function floodStream(socket) {
  socket.on('error', () => {});
  await once(socket, socket.encrypted ? 'secureConnect' : 'connect');
  socket.write(`GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${shop.key}\r\n\r\n`);
  await once(socket, 'data');
  const part = Buffer.alloc(64 * 1024, 'x');
  let taken = 0;
  const more = (error) => {
    if (error) return;
    taken += part.length;
    if (taken < FLOOD) socket.write(part, more);
    else socket.destroy();
  };
  socket.write(part, more);
  await new Promise((resolve) => { socket.on('close', resolve); }); // with an error, mostly
  return taken;
}

test('what is sent while an answer is written waits with its sender', async () => {
  const taken = await floodStream(net.connect(shop.port, '127.0.0.1'));
  assert.ok(taken < FLOOD, 'the server read it all');
  await isWell();
});

test('a key that asks too fast is told so, and others are not', async () => {
  const greedy = await desk.key('shop', 'read');
  const statuses = [];
  for (let i = 0; i < 30; i++)
    statuses.push(...await Promise.all(Array.from({ length: 30 }, () => shop.ask('GET', '/v1/balance', { key: greedy }).then(({ status: code }) => code, (error) => error.code))));
  assert.ok(statuses.every((code) => code === 200 || code === 429), String([...new Set(statuses)]));
  await isWell();
});

test('over TLS, and plain only where nobody can listen', async () => {
  await shop.running.stop();
  // The hub's own certificate will do: it is one, with a key.
  const pem = (name) => join(desk.folder, 'hub-data/tls', name);
  const flags = (...more) => ['--home', desk.home.shop, '--timeout-s', '5', ...more];
  const refused = async (...more) => {
    const running = desk.start('rill-merchantd', 'rill-merchantd', flags(...more));
    const [code] = await once(running.process, 'exit');
    return [code, running.output];
  };
  for (const address of ['0.0.0.0:0', '127.evil.example:0', '192.168.0.1:0']) {
    const [code, said] = await refused('--listen', address);
    assert.equal(code, 2);
    assert.match(said, /keys would travel unprotected/);
  }
  assert.equal((await refused('--tls-cert', pem('tls-cert.pem')))[0], 2);
  assert.match((await refused('--listen', '127.0.0.1:0', '--tls-cert', pem('tls-key.pem'), '--tls-key', pem('tls-key.pem')))[1], /cannot use the certificate/);
  const secure = new Merchant(desk, 'shop', ['--tls-cert', pem('tls-cert.pem'), '--tls-key', pem('tls-key.pem')]);
  await secure.start();
  const ca = readFileSync(pem('tls-cert.pem'));
  const options = { port: secure.port, host: '127.0.0.1', path: '/v1/invoices?limit=1', ca, checkServerIdentity: () => undefined, agent: false, headers: { authorization: `Bearer ${shop.key}` } };
  const [response] = await once(https.get(options), 'response');
  let text = '';
  for await (const part of response) text += part;
  assert.equal(response.statusCode, 200);
  assert.match(JSON.parse(text).invoices[0].pay_url, /^https:/);
  assert.equal(status(await raw(secure.port, 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n').catch(() => '')), 0);
  const flooding = tls.connect({ port: secure.port, host: '127.0.0.1', ca, checkServerIdentity: () => undefined });
  assert.ok(await floodStream(flooding) < FLOOD, 'the server read it all');
  await secure.running.stop();
});
