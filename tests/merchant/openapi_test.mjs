// merchant/openapi.json against a running server: every operation, every status and error code that it documents is
// visited, and every answer is held against its schema. What is documented and not visited fails, and so does what is
// answered and not documented.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import Ajv from 'ajv/dist/2020.js';
import { Cable, Desk, Merchant, SHOP, Stream, raw } from './desk.mjs';

const document = JSON.parse(readFileSync(new URL('../../merchant/openapi.json', import.meta.url), 'utf8'));
const ajv = new Ajv({ strict: false, validateFormats: false });
ajv.addSchema(document, 'api');

const operations = new Map(); // operationId: { method, path, operation }
for (const [path, methods] of Object.entries(document.paths))
  for (const [method, operation] of Object.entries(methods))
    operations.set(operation.operationId, { method: method.toUpperCase(), path, operation });

const visited = new Set();
const ABSENT = '0123456789abcdef0123456789abcdef';
const PREFIX = { invoices: 'inv_', pay: 'inv_', payments: 'pay_', webhooks: 'wh_' };

/** The path with an id: a given one, or one that does not exist. */
const fill = (path, id) => path.replace('{id}', id ?? `${PREFIX[path.split('/').find((part) => PREFIX[part])]}${ABSENT}`);

const pointer = (...parts) => parts.map((part) => encodeURIComponent(String(part).replaceAll('~', '~0').replaceAll('/', '~1'))).join('/');

/** Holds an answer against what its operation says of this status, and notes that it was visited. */
function hold(name, { status, headers, text, json }, code) {
  const { path, method, operation } = operations.get(name);
  const documented = operation.responses[status];
  assert.ok(documented, `${name}: status ${status} is not documented: ${text}`);
  const type = headers['content-type'].split(';')[0];
  const isRef = documented.$ref !== undefined;
  const response = isRef ? document.components.responses[status] : documented;
  assert.ok(response.content[type], `${name}: ${status} as ${type}`);
  if (type === 'application/json') {
    const at = isRef ? pointer('components', 'responses', status) : pointer('paths', path, method.toLowerCase(), 'responses', status);
    const validate = ajv.compile({ $ref: `api#/${at}/${pointer('content', type, 'schema')}` });
    assert.ok(validate(json), `${name} ${status}: ${ajv.errorsText(validate.errors)}\n${text}`);
  }
  if (status >= 400) {
    assert.equal(json.error.code, code ?? json.error.code, `${name}: ${text}`);
    assert.ok(operation['x-errors'][status]?.includes(json.error.code), `${name}: ${status} ${json.error.code} is not documented`);
    if (status === 429) assert.equal(headers['retry-after'], '1');
  }
  visited.add(`${name} ${status} ${status >= 400 ? json.error.code : ''}`.trim());
  return json;
}

let desk, shop, tight, lost;
const keys = {};

/** Asks the shop's server by an operation's name, and holds the answer. */
async function call(name, { status, code, id, query = '', server = shop, key = server.key, body, headers = {}, idempotent = true } = {}) {
  const { method, path, operation } = operations.get(name);
  const all = { ...headers };
  const takesKey = operation.parameters?.some((one) => one.name === 'Idempotency-Key');
  if (takesKey && idempotent && all['idempotency-key'] === undefined) all['idempotency-key'] = randomUUID();
  const answer = await server.ask(method, fill(path, id) + query, { key: operation['x-scope'] || key === null ? key : undefined, body, headers: all });
  assert.equal(answer.status, status, `${name}: ${answer.text}`);
  return hold(name, answer, code);
}

before(async () => {
  desk = await Desk.open();
  shop = await desk.merchant('shop', ['--webhook-allow', '127.0.0.1', '--rate-per-s', '1000', '--rate-burst', '5000', '--public-rate-per-s', '1000']);
  await shop.connected();
  for (const scope of ['read', 'invoice', 'payout']) keys[scope] = await desk.key('shop', scope);
});
after(() => desk?.stop());

test('keys, methods and heads that are not right, at every operation', async () => {
  for (const [name, { method, path, operation }] of operations) {
    const scope = operation['x-scope']?.[0];
    if (scope) {
      hold(name, await shop.ask(method, fill(path)), 'unauthorized');
      hold(name, await shop.ask(method, fill(path), { key: shop.key.replace(/.$/, (digit) => (digit === '0' ? '1' : '0')) }), 'unauthorized');
      const wrong = scope === 'read' ? keys.payout : keys.read;
      hold(name, await shop.ask(method, fill(path), { key: wrong }), 'forbidden');
    }
    const said = await raw(shop.port, `${method} ${fill(path)} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n`);
    const [head, body] = said.split('\r\n\r\n');
    assert.match(head, /^HTTP\/1\.1 400 /);
    hold(name, { status: 400, headers: { 'content-type': 'application/json' }, text: body, json: JSON.parse(body) }, 'bad_request');
    const other = await shop.ask('PATCH', fill(path), { key: shop.key, body: {} });
    assert.equal(other.status, 405, `${name}: ${other.text}`);
  }
  const nowhere = await shop.ask('GET', '/v1/nothing', { key: shop.key });
  assert.equal(nowhere.status, 404);
  assert.equal(nowhere.json.error.code, 'not_found');
});

test('bodies and Idempotency-Keys that are not right, at every write', async () => {
  const made = await shop.invoice({ amount: '1' });
  for (const [name, { method, path, operation }] of operations) {
    const errors = operation['x-errors'];
    if (!errors[422]) continue;
    const target = fill(path, name === 'cancelInvoice' ? made.id : undefined), key = shop.key;
    const headers = () => ({ 'idempotency-key': randomUUID() });
    if (errors[415]) {
      hold(name, await shop.ask(method, target, { key, body: '{"a":', headers: headers() }), 'malformed_json');
      hold(name, await shop.ask(method, target, { key, body: '{"a":1,"a":1}', headers: headers() }), 'malformed_json');
      hold(name, await shop.ask(method, target, { key, body: '[]', headers: headers() }), 'invalid_request');
      hold(name, await shop.ask(method, target, { key, body: 'a=1', headers: { ...headers(), 'content-type': 'text/plain' } }), 'unsupported_media_type');
    }
    if (errors[400].includes('idempotency_key_missing'))
      hold(name, await shop.ask(method, target, { key, body: {} }), 'idempotency_key_missing');
  }
});

test('invoices', async () => {
  const first = await call('createInvoice', { status: 201, body: { amount: '2.5', memo: 'two coffees', external_id: 'o1', metadata: { table: '4' } } });
  assert.equal(first.amount_units, '2500000');
  await call('createInvoice', { status: 201, body: {} });
  for (const amount of ['0', '-1', '1.0000001', 'x', '99999999999999999999'])
    await call('createInvoice', { status: 400, code: 'invalid_amount', body: { amount } });
  await call('createInvoice', { status: 400, code: 'invalid_asset', body: { amount: '1', asset: 'EURX' } });
  for (const body of [{ amount: 1 }, { memo: 'x'.repeat(257) }, { expires_in_s: 1 }, { expires_in_s: 1.5 }, { metadata: { a: 1 } }, { metadata: [] }, { typo: 1 }, { external_id: 'x'.repeat(129) }])
    await call('createInvoice', { status: 400, code: 'invalid_request', body });
  const key = { 'idempotency-key': 'order 17' };
  const one = await call('createInvoice', { status: 201, body: { amount: '1' }, headers: key });
  assert.deepEqual(await call('createInvoice', { status: 201, body: { amount: '1' }, headers: key }), one);
  await call('createInvoice', { status: 422, code: 'idempotency_key_reused', body: { amount: '2' }, headers: key });
  // The same wish on many connections at once is one wish.
  const crowd = { 'idempotency-key': 'order 18' };
  const same = await Promise.all(Array.from({ length: 12 }, () => call('createInvoice', { status: 201, body: { external_id: 'o18' }, headers: crowd })));
  for (const each of same) assert.deepEqual(each, same[0]);
  assert.equal((await call('listInvoices', { status: 200, query: '?external_id=o18' })).invoices.length, 1);
  await call('cancelInvoice', { status: 200, id: same[0].id });
  const list = await call('listInvoices', { status: 200, query: '?limit=2&state=open' });
  assert.equal(list.invoices[0].id, one.id);
  const next = await call('listInvoices', { status: 200, query: `?limit=2&cursor=${list.next}` });
  assert.ok(!list.invoices.some(({ id }) => next.invoices.some((other) => other.id === id)));
  assert.deepEqual((await call('listInvoices', { status: 200, query: '?external_id=o1' })).invoices.map(({ id }) => id), [first.id]);
  for (const query of ['?limit=0', '?limit=x', '?state=lost', '?nothing=1', '?cursor=-'])
    await call('listInvoices', { status: 400, code: 'invalid_request', query });
  assert.deepEqual(await call('getInvoice', { status: 200, id: first.id }), first);
  await call('getInvoice', { status: 404, code: 'invoice_not_found' });
  await call('cancelInvoice', { status: 404, code: 'invoice_not_found' });
  assert.equal((await call('cancelInvoice', { status: 200, id: first.id })).state, 'cancelled');
  await assert.rejects(desk.pay(first, '--timeout-s', '20'));
  await call('cancelInvoice', { status: 422, code: 'idempotency_key_reused', id: one.id, headers: key });
});

let payment;
test('payments and refunds', async () => {
  const invoice = await call('createInvoice', { status: 201, body: { amount: '5', memo: '=cmd|x' } });
  await desk.pay(invoice);
  await shop.paid(invoice.id);
  const list = await call('listPayments', { status: 200, query: `?invoice=${invoice.id}` });
  [payment] = list.payments;
  assert.equal(payment.amount, '5');
  await call('listPayments', { status: 400, code: 'invalid_request', query: '?invoice=x' });
  assert.deepEqual(await call('getPayment', { status: 200, id: payment.id }), payment);
  await call('getPayment', { status: 404, code: 'payment_not_found' });
  const refund = (more) => call('refundPayment', { id: payment.id, ...more });
  await call('refundPayment', { status: 404, code: 'payment_not_found' });
  await refund({ status: 400, code: 'invoice_missing', body: {} });
  await refund({ status: 400, code: 'invalid_invoice', body: { invoice: 'rill:AAAA' } });
  await refund({ status: 400, code: 'invalid_invoice', body: { invoice: invoice.text } });
  await refund({ status: 400, code: 'invalid_request', body: { invoice: 7 } });
  const text = await desk.customerInvoice('2');
  await refund({ status: 400, code: 'invalid_amount', body: { invoice: text, amount: '3' } });
  await refund({ status: 409, code: 'refund_exceeds_payment', body: { invoice: await desk.customerInvoice('5.000001') } });
  const key = { 'idempotency-key': 'refund 1' };
  const made = await refund({ status: 201, body: { invoice: text }, headers: key });
  assert.deepEqual(await refund({ status: 201, body: { invoice: text }, headers: key }), made);
  await refund({ status: 422, code: 'idempotency_key_reused', body: { invoice: text, amount: '2' }, headers: key });
  await refund({ status: 409, code: 'invoice_used', body: { invoice: text } });
  await refund({ status: 409, code: 'refund_exceeds_payment', body: { invoice: await desk.customerInvoice('3.000001') } });
  await shop.until('the refund', `/v1/payments/${payment.id}`, ({ refunds }) => refunds[0].state === 'paid');
  await call('getPayment', { status: 200, id: payment.id });
});

test('balance, payouts and their policy', async () => {
  const { balances } = await call('getBalance', { status: 200 });
  assert.equal(balances[0].asset.symbol, 'USDT');
  await call('getPolicy', { status: 200 });
  await call('getPolicy', { status: 400, code: 'invalid_asset', query: '?asset=EURX' });
  await call('getPolicy', { status: 400, code: 'invalid_request', query: '?x=1' });
  await call('putPolicy', { status: 200, body: { mode: 'daily', at: '23:30', keep: '1' } });
  await call('putPolicy', { status: 400, code: 'invalid_request', body: { mode: 'daily', at: '24:00' } });
  await call('putPolicy', { status: 400, code: 'invalid_request', body: { mode: 'weekly' } });
  await call('putPolicy', { status: 400, code: 'invalid_request', body: { mode: 'threshold' } });
  await call('putPolicy', { status: 400, code: 'invalid_amount', body: { mode: 'threshold', threshold: '-1' } });
  await call('putPolicy', { status: 400, code: 'invalid_asset', body: { mode: 'manual', asset: 'EURX' } });
  const reused = { 'idempotency-key': 'policy' };
  await call('putPolicy', { status: 200, body: { mode: 'manual' }, headers: reused });
  await call('putPolicy', { status: 422, code: 'idempotency_key_reused', body: { mode: 'daily', at: '00:00' }, headers: reused });
  await call('createPayout', { status: 400, code: 'invalid_amount', body: {} });
  await call('createPayout', { status: 400, code: 'invalid_request', body: { amount: 1 } });
  await call('createPayout', { status: 400, code: 'invalid_asset', body: { amount: '1', asset: 'EURX' } });
  await call('createPayout', { status: 409, code: 'payout_refused', body: { amount: '70' } });
  const key = { 'idempotency-key': 'payout 1' };
  const made = await call('createPayout', { status: 201, body: { amount: 'all' }, headers: key });
  assert.deepEqual(await call('createPayout', { status: 201, body: { amount: 'all' }, headers: key }), made);
  await call('createPayout', { status: 422, code: 'idempotency_key_reused', body: { amount: '1' }, headers: key });
  await shop.until('the payout', '/v1/payouts', ({ payouts }) => payouts[0].state === 'settled');
  await call('listPayouts', { status: 200, query: '?limit=1' });
  await call('listPayouts', { status: 400, code: 'invalid_request', query: '?limit=501' });
  await call('refundPayment', { status: 409, code: 'refund_refused', id: payment.id, body: { invoice: await desk.customerInvoice('2.5') } });
  assert.equal((await shop.must('GET', `/v1/payments/${payment.id}`)).refunds.at(-1).state, 'failed');
});

test('history', async () => {
  const { history } = await call('getHistory', { status: 200 });
  assert.deepEqual(history.map(({ kind }) => kind), ['payment', 'refund', 'payout']);
  const page = await call('getHistory', { status: 200, query: '?limit=1' });
  const rest = await call('getHistory', { status: 200, query: `?limit=9&cursor=${page.next}` });
  assert.deepEqual([...page.history, ...rest.history], history);
  await call('getHistory', { status: 400, code: 'invalid_request', query: '?format=xml' });
  await call('getHistory', { status: 200, query: '?format=csv' });
  const csv = await shop.ask('GET', '/v1/history?format=csv&limit=1', { key: shop.key });
  const lines = csv.text.split('\r\n');
  assert.equal(lines.length, 3);
  assert.match(lines[1], /,payment,pay_[0-9a-f]{32},5,5000000,USDT,inv_[0-9a-f]{32},"","'=cmd\|x"$/);
  assert.equal(csv.headers['rill-next-cursor'], page.next);
});

test('web hooks', async () => {
  const url = 'http://127.0.0.1:1/hook';
  const made = await call('createWebhook', { status: 201, body: { url, events: ['invoice.paid'] } });
  assert.match(made.secret, /^whsec_/);
  for (const bad of ['http://example.com/', 'https://10.0.0.1/', 'ftp://x', 'https://[::1]/', 'https://user@example.com/', 'https://0x7f.1/', 'https://[::ffff:127.0.0.1]/', 'https://169.254.169.254/latest/'])
    await call('createWebhook', { status: 400, code: 'invalid_url', body: { url: bad } });
  for (const body of [{}, { url: 1 }, { url, events: ['x'] }, { url, events: [] }, { url, more: 1 }])
    await call('createWebhook', { status: 400, code: 'invalid_request', body });
  const key = { 'idempotency-key': 'hook 1' };
  const second = await call('createWebhook', { status: 201, body: { url }, headers: key });
  assert.deepEqual(await call('createWebhook', { status: 201, body: { url }, headers: key }), second);
  await call('createWebhook', { status: 422, code: 'idempotency_key_reused', body: { url, events: null }, headers: key });
  const { webhooks } = await call('listWebhooks', { status: 200 });
  assert.deepEqual(webhooks.map(({ id, secret }) => [id, secret]), [[made.id, undefined], [second.id, undefined]]);
  await shop.invoice({ amount: '1' });
  await shop.until('a delivery', `/v1/webhooks/${second.id}/deliveries`, ({ deliveries }) => deliveries[0]?.attempts > 0);
  await call('listDeliveries', { status: 200, id: second.id });
  await call('listDeliveries', { status: 200, id: second.id, query: '?state=dead' });
  await call('listDeliveries', { status: 400, code: 'invalid_request', id: second.id, query: '?state=x' });
  await call('listDeliveries', { status: 404, code: 'webhook_not_found' });
  await call('replayWebhooks', { status: 400, code: 'invalid_request', body: {} });
  await call('replayWebhooks', { status: 404, code: 'webhook_not_found', body: { since: 0, webhook: `wh_${ABSENT}` } });
  assert.deepEqual(await call('replayWebhooks', { status: 202, body: { since: 0 }, headers: { 'idempotency-key': 'replay' } }), { webhooks: 2 });
  await call('replayWebhooks', { status: 422, code: 'idempotency_key_reused', body: { since: 1 }, headers: { 'idempotency-key': 'replay' } });
  await call('deleteWebhook', { status: 404, code: 'webhook_not_found' });
  await call('deleteWebhook', { status: 200, id: second.id, headers: { 'idempotency-key': 'gone' } });
  await call('deleteWebhook', { status: 422, code: 'idempotency_key_reused', id: made.id, headers: { 'idempotency-key': 'gone' } });
});

test('streams', async () => {
  const validate = ajv.compile({ $ref: 'api#/components/schemas/Event' });
  const all = await Stream.open(shop.url, '/v1/events', { key: shop.key });
  const invoice = await shop.invoice({ amount: '1', metadata: { a: 'b' }, external_id: 'secret' });
  const one = await Stream.open(shop.url, `/v1/events?invoice=${invoice.id}`, { key: shop.key });
  const open = await Stream.open(shop.url, `/pay/${invoice.id}/events`);
  for (const [name, stream] of [['streamEvents', one], ['streamPublicEvents', open]])
    hold(name, { status: stream.status, headers: stream.response.headers, text: '' });
  await shop.must('POST', `/v1/invoices/${invoice.id}/cancel`, {});
  const seen = [await all.next(), await all.next()];
  assert.deepEqual(seen.map(({ event }) => event), ['invoice.created', 'invoice.cancelled']);
  for (const { data } of seen) assert.ok(validate(data), ajv.errorsText(validate.errors));
  assert.equal((await one.next()).id, seen[1].id);
  const shown = await open.next();
  assert.equal(shown.data.invoice.state, 'cancelled');
  assert.equal(shown.data.invoice.metadata, undefined);
  assert.equal(shown.data.invoice.external_id, undefined);
  const again = await Stream.open(shop.url, '/v1/events', { key: shop.key, last: seen[0].id });
  assert.deepEqual(await again.next(), seen[1]);
  for (const stream of [all, one, open, again]) stream.close();
  for (const name of ['streamEvents', 'streamPublicEvents'])
    await call(name, { status: 400, code: 'invalid_request', id: invoice.id, headers: { 'last-event-id': 'x' } });
  await call('streamEvents', { status: 404, code: 'invoice_not_found', query: `?invoice=inv_${ABSENT}` });
  await call('streamPublicEvents', { status: 404, code: 'invoice_not_found' });
});

test('what the server says of itself', async () => {
  await call('getHealth', { status: 200 });
  const metrics = await call('getMetrics', { status: 200 });
  assert.equal(metrics, undefined);
  assert.deepEqual(await call('getDescription', { status: 200 }), document);
});

test('a policy pays out by itself, once, and says so', async () => {
  const payouts = async () => (await shop.must('GET', '/v1/payouts')).payouts;
  await desk.hangUp();
  const invoice = await shop.invoice({ amount: '2' });
  await desk.pay(invoice);
  await shop.paid(invoice.id);
  const before = await payouts(), { balances: [{ available_units: available }] } = await call('getBalance', { status: 200 });
  assert.ok(BigInt(available) > 1000000n, available);
  const stream = await Stream.open(shop.url, '/v1/events', { key: shop.key });
  await call('putPolicy', { status: 200, body: { mode: 'threshold', threshold: '1', keep: '0.25' } });
  let told;
  do {
    told = await stream.next();
  } while (told.event !== 'payout.settled');
  stream.close();
  assert.equal(told.data.payout.origin, 'policy');
  assert.equal(BigInt(told.data.payout.amount_units), BigInt(available) - 250000n);
  const after = await payouts();
  assert.deepEqual(after.slice(1), before);
  assert.deepEqual([after[0].id, after[0].state], [told.data.payout.id, 'settled']);
  await call('putPolicy', { status: 200, body: { mode: 'manual' } });
});

test('an invoice that is paid, or whose payment is arriving, is not cancelled', async () => {
  const paid = await shop.invoice({ amount: '1' });
  await desk.pay(paid);
  await shop.paid(paid.id);
  await call('cancelInvoice', { status: 409, code: 'invoice_not_open', id: paid.id });

  // The hub does not hear the secret: the payment stays between reveal and unlock.
  const cable = await new Cable(await desk.shardOf(SHOP)).listen();
  await shop.running.stop();
  shop.flags.push('--hub', `127.0.0.1:${cable.port}`);
  await shop.start();
  await shop.connected();
  const arriving = await shop.invoice({ amount: '1' });
  cable.isDeafToClient = true;
  const paying = desk.pay(arriving, '--mode', 'locked', '--timeout-s', '120');
  let answer;
  do {
    answer = await shop.ask('GET', '/v1/balance', { key: shop.key });
  } while (answer.json.balances[0].incoming_units === '0');
  await call('cancelInvoice', { status: 409, code: 'payment_arriving', id: arriving.id });
  cable.isDeafToClient = false;
  cable.cut();
  await paying;
  await shop.paid(arriving.id);
  cable.close();
});

test('limits of rate, number and streams', async () => {
  await shop.running.stop();
  tight = new Merchant(desk, 'shop', ['--rate-per-s', '1', '--rate-burst', '1', '--public-rate-per-s', '1', '--connections', '8']);
  tight.key = keys.read;
  await tight.start();
  for (const [name, { method, path, operation }] of operations) {
    const scope = operation['x-scope']?.[0];
    let answer;
    do {
      // A stream of an invoice that there is not ends at once.
      const query = name === 'streamEvents' ? `?invoice=inv_${ABSENT}` : '';
      answer = await tight.ask(method, fill(path) + query, { key: scope && keys[scope] });
    } while (answer.status !== 429);
    hold(name, answer, 'too_many_requests');
  }
  const statusFrom = async (server, address) =>
    (await server.ask('GET', '/v1/balance', { headers: { 'X-Forwarded-For': address } })).status;
  const untilRefused = async (server, address) => {
    for (let i = 0; i < 200; i++) if (await statusFrom(server, address(i)) === 429) return;
    assert.fail('nobody is told to wait');
  };
  // Whoever says so himself is not believed.
  await untilRefused(tight, (i) => `203.0.113.${i}`);
  await tight.running.stop();
  const few = new Merchant(desk, 'shop', ['--invoices-max', '1', '--connections', '8', '--public-rate-per-s', '1', '--trusted-front', '127.0.0.1']);
  few.key = shop.key;
  await few.start();
  // Through a server that is trusted, each of its clients has a rate of its own (buckets are shared, so: most have).
  await untilRefused(few, () => '203.0.113.1');
  const others = await Promise.all(Array.from({ length: 5 }, (_, i) => statusFrom(few, `198.51.100.${i}`)));
  assert.ok(others.includes(401), others.join());
  await call('createInvoice', { status: 429, code: 'too_many_invoices', server: few, body: { amount: '1' } });
  const { invoices } = await few.must('GET', '/v1/invoices?limit=1');
  const streams = [];
  for (let i = 0; i < 6; i++) streams.push(await Stream.open(few.url, '/v1/events', { key: few.key }));
  await call('streamEvents', { status: 503, code: 'too_many_streams', server: few });
  await call('streamPublicEvents', { status: 503, code: 'too_many_streams', server: few, id: invoices[0].id });
  for (const stream of streams) stream.close();
  await few.running.stop();
});

test('without a ledger, and without a hub', async () => {
  // The wallet knows its chain and hub; nobody answers at either.
  lost = new Merchant(desk, 'shop', ['--ledger', 'http://127.0.0.1:1', '--hub', '127.0.0.1:1']);
  lost.key = shop.key;
  const text = await desk.customerInvoice('0.5');
  await lost.start();
  await call('getHealth', { status: 503, code: 'hub_unreachable', server: lost });
  await call('createInvoice', { status: 503, code: 'ledger_unreachable', server: lost, body: { amount: '1' } });
  await lost.running.stop();
  writeFileSync(join(desk.home.shop, 'assets.json'), '[]');
  await lost.start();
  const server = lost;
  await call('createInvoice', { status: 503, code: 'assets_unknown', server, body: { amount: '1' } });
  await call('createPayout', { status: 503, code: 'assets_unknown', server, body: { amount: '1' } });
  await call('refundPayment', { status: 503, code: 'assets_unknown', server, id: payment.id, body: { invoice: text } });
  await call('getPolicy', { status: 503, code: 'assets_unknown', server });
  await call('putPolicy', { status: 503, code: 'assets_unknown', server, body: { mode: 'manual' } });
  await lost.running.stop();
});

test('a node that does not say the decimals makes no invoice wrong', async () => {
  let fails = true;
  const node = http.createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts).toString();
    const answer = fails && body.includes('0x313ce567') // decimals()
      ? JSON.stringify({ jsonrpc: '2.0', id: JSON.parse(body).id, error: { code: -32603, message: 'internal error' } })
      : await (await fetch(desk.ledger.url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })).text();
    response.setHeader('content-type', 'application/json');
    response.end(answer);
  });
  node.listen(0, '127.0.0.1');
  await once(node, 'listening');
  writeFileSync(join(desk.home.shop, 'assets.json'), '[]');
  const server = new Merchant(desk, 'shop', ['--ledger', `http://127.0.0.1:${node.address().port}`]);
  server.key = shop.key;
  await server.start();
  try {
    await call('createInvoice', { status: 503, code: 'assets_unknown', server, body: { amount: '1' } });
    await server.until('a warning', '/v1/balance', () => server.running.output.includes('does not say the decimals of the token'));
    fails = false;
    for (const end = Date.now() + 60000; ;) {
      const { status, json } = await server.ask('POST', '/v1/invoices', { key: server.key, body: { amount: '1' }, headers: { 'idempotency-key': randomUUID() } });
      if (status === 201) {
        assert.equal(json.amount_units, '1000000');
        break;
      }
      assert.ok(Date.now() < end, `in vain: ${server.running.output}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  } finally {
    await server.running.stop();
    node.closeAllConnections();
    node.close();
  }
});

test('everything that is documented was visited', () => {
  const documented = [];
  for (const [name, { operation }] of operations)
    for (const status of Object.keys(operation.responses))
      if (status < 400) documented.push(`${name} ${status}`);
      else for (const code of operation['x-errors'][status]) documented.push(`${name} ${status} ${code}`);
  assert.deepEqual(documented.filter((one) => !visited.has(one)), []);
});
