// A small Rill wallet in one file, which repeats some of wire.mjs so that it can be read alone: it has a channel made,
// pays and is paid directly, refunds what it did not ask for, is paid out. It hangs up on what it cannot accept: then
// `rill recover` with the same key goes on. Left out: deposits (a plain call of the contract), closing, disputes,
// towers, settlements past their deadline, locks (amounts from the hub's direct limit up): client.mjs is thorough.
import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createRequire } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';
import tls from 'node:tls';
import { ethers, project } from './twins.mjs';
const { decode, encode } = createRequire(`${project}/ledger/contracts/package.json`)('@msgpack/msgpack');
const [HELLO, CHALLENGE, AUTH, WELCOME, REDIRECT, UPDATE, ACK, REVEAL] = [1, 2, 3, 4, 5, 6, 7, 8];
const [SETTLE_REQUEST, SETTLE_PROPOSE, SETTLE_SIGN, SETTLED, PING, PONG, ERROR] = [11, 12, 13, 14, 15, 16, 17];
const [FUNDED, RESUME, CHANNEL, OPEN_REQUEST] = [18, 19, 20, 22], [PAY, REFUND] = [1n, 6n], OPEN = 1n;
const AMOUNT_LIMIT = 1n << 63n, WINDOW = 64, FRAME_MAX = 256 * 1024, DAY = 86_400n;
const LIMITS = { useBigInt64: true, maxStrLength: 256, maxBinLength: 65536, maxArrayLength: 1024, maxMapLength: 64 };
const CODES = { AUTH: 2, MALFORMED: 3, LIMIT: 4, SIGNATURE: 20, NONCE: 21, TRANSFERRED: 22, LOCKED: 23, AVAILABLE: 25,
  BODY: 31, PAYEE: 40, ROOM: 41, EXPIRED: 42, INVOICE: 43, AMOUNT: 44, PAID: 47, OFFLINE: 48, SETTLE: 60 };
const nameOf = (code) => Object.keys(CODES).find((name) => BigInt(CODES[name]) === code) ?? `${code}`;
const refusal = (code, text) => Object.assign(new Error(`${code}: ${text}`), { code });
const refuseIf = (isBroken, code, text) => { if (isBroken) throw refusal(code, text); };
const least = (a, b) => (a < b ? a : b), sum = (values) => values.reduce((a, b) => a + b, 0n);
// ---- what is signed: EIP-712; on the wire 64 bytes (EIP-2098), whose parity is a hint only
const TYPES = Object.fromEntries(Object.entries({
  BalanceProof: 'bytes32 channel,uint64 nonce,uint64 transferred,uint64 locked,bytes32 locksRoot,bytes32 bodyHash',
  Settlement: 'bytes32 channel,uint32 seq,uint64 clientOut,uint64 hubOut,uint64 deadline,bool close',
  Invoice: 'address payee,address asset,uint64 amount,bytes32 secretHash,uint64 expiry,bytes32 memoHash',
  Session: 'address client,bytes32 challenge,bytes32 tlsCertHash',
}).map(([key, list]) => [key, { [key]: list.split(',').map((one) => ethers.ParamType.from(one)) }]));
const sign = async (signer, domain, name, message) =>
  ethers.Signature.from(await signer.signTypedData(domain, TYPES[name], message)).compactSerialized;
function isSignedBy(address, domain, name, message, signature) {
  const { r, s } = ethers.Signature.from(signature), hash = ethers.TypedDataEncoder.hash(domain, TYPES[name], message);
  const isFrom = (v) => ethers.recoverAddress(hash, { r, s, v }).toLowerCase() === address;
  try { return ethers.dataLength(signature) === 64 && (isFrom(27) || isFrom(28)); } catch { return false; }
}
// ---- MessagePack: in here bytes are '0x…', numbers bigint, a text { text }, so that bin and str cannot be mixed up
const lower = (value) => {
  // The package writes a bigint in nine bytes, and a number above 32 bits as a float: the fewest bytes need both.
  if (typeof value === 'bigint') return value <= 0xffffffffn ? Number(value) : value;
  if (Array.isArray(value)) return value.map(lower);
  return typeof value === 'string' ? ethers.getBytes(value) : value.text ?? value;
};
const lift = (value) => {
  if (value instanceof Uint8Array) return ethers.hexlify(value);
  if (typeof value === 'object') return Array.isArray(value) ? value.map(lift) : lift(Object.entries(value));
  return typeof value === 'string' ? { text: value } : typeof value === 'boolean' ? value : BigInt(value);
};
const pack = (value) => encode(lower(value), LIMITS);
const unpack = (bytes, code = 'MALFORMED') => {
  try { return lift(decode(ethers.getBytes(bytes), LIMITS)); } catch (error) { throw refusal(code, error.message); }
};
const frame = (array, body = pack(array)) => Buffer.concat([ethers.toBeArray(2 ** 32 + body.length).slice(1), body]);
async function* messagesOf(socket) {
  let bytes = Buffer.alloc(0);
  for await (const chunk of socket) {
    bytes = Buffer.concat([bytes, chunk]);
    for (let end; bytes.length >= 4 && bytes.length >= (end = 4 + bytes.readUInt32BE()); bytes = bytes.subarray(end))
      yield unpack(bytes.subarray(4, end));
    refuseIf(bytes.length > 4 + FRAME_MAX, 'MALFORMED', 'a frame that is too long');
  }
}
// ---- invoices: version, chain, contract, hub, payee, asset, amount, secretHash, expiry, memo, signature in base32
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const regroup = (digits, from, to, shortest) => digits.map((digit) => digit.toString(2).padStart(from, '0')).join('')
  .match(new RegExp(`.{${shortest},${to}}`, 'g')).map((bits) => parseInt(bits.padEnd(to, '0'), 2));
const textOf = (fields) => 'rill:' + regroup([...pack(fields)], 8, 5, 1).map((digit) => BASE32[digit]).join('');
const signedPart = ([, , , , payee, asset, amount, secretHash, expiry, memo]) =>
  ({ payee, asset, amount, secretHash, expiry, memoHash: ethers.id(memo.text) });
const placeOf = ({ chainId, verifyingContract }) => `${chainId},${verifyingContract.toLowerCase()}`;
function readInvoice(text, domain) {
  const digits = [...text.slice(5)].map((letter) => BASE32.indexOf(letter));
  const fields = unpack(Uint8Array.from(regroup(digits, 5, 8, 8)), 'INVOICE');
  const isWhole = textOf(fields) === text && `${fields.slice(0, 3)}` === `1,${placeOf(domain)}`;
  const isGood = isWhole && isSignedBy(fields[4], domain, 'Invoice', signedPart(fields), fields[10]);
  refuseIf(!isGood, 'INVOICE', 'malformed, for another hub, or not signed by its payee');
  return { ...signedPart(fields), memo: fields[9] };
}
// ---- the handshake: the hub signs the certificate of this very connection, so any certificate will do
async function openSession(wallet, host, port, redirects = 3) {
  const { client, signer, domain, hub } = wallet, nonce = ethers.hexlify(randomBytes(32));
  const socket = tls.connect({ host, port, minVersion: 'TLSv1.3', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  socket.setTimeout(90_000, () => socket.destroy()).on('error', () => {}); // its messages end, and so tell
  const messages = messagesOf(socket), refuse = (code, text) => { socket.destroy(); throw refusal(code, text); };
  const ask = async (wanted, ...message) => {
    socket.write(frame(message));
    const { value: [type, ...fields] = [] } = await messages.next();
    if (!wanted.includes(Number(type))) refuse(nameOf(fields[0]), `the hub says: ${fields[1]?.text}`);
    return [Number(type), ...fields];
  };
  const [type, ...fields] = await ask([CHALLENGE, redirects > 0 && REDIRECT], HELLO, 1n, client, nonce, { text: 'js' });
  if (type === REDIRECT) { // to the shard that serves this client
    socket.destroy();
    return openSession(wallet, fields[0].text, Number(fields[1]), redirects - 1);
  }
  const session = { client, challenge: fields[0], tlsCertHash: ethers.keccak256(socket.getPeerCertificate().raw) };
  const isHub = `${fields.slice(1, 4)}` === `${hub},${placeOf(domain)}`
    && isSignedBy(hub, domain, 'Session', { ...session, challenge: ethers.keccak256(nonce) }, fields[4]);
  if (!isHub) refuse('AUTH', `the server did not prove that it is ${hub}`);
  const [, terms, toShow] = await ask([WELCOME], AUTH, await sign(signer, domain, 'Session', session));
  return { socket, messages, terms: Object.fromEntries(terms.map(([{ text }, value]) => [text, value])), toShow };
}
// ---- the wallet: methods whose name is a number take that message of the hub
const ABI = ['function hub() view returns (address)',
  'function channel(tuple(address, address, uint64)) view returns (uint64, int64, uint32, uint8)'];
const proofOf = (channel, [nonce, transferred, locked, locksRoot, body]) =>
  ({ channel, nonce, transferred, locked, locksRoot, bodyHash: ethers.keccak256(body) });
const movesOf = (operations) => operations.flatMap(([type, , first, amount, fee]) =>
  (type === PAY ? [amount, fee] : [type === REFUND ? first : -1n])); // what is neither moves less than nothing
const isOpen = ({ secret, code }) => !secret && !code; // of a payment
export class SmallClient extends EventEmitter { // 'received' (invoice), 'trouble' (with one's own node)
  // Options: signer, provider (one's own node), domain, host, port, asset, save(state), and state, if there is one.
  constructor({ signer, asset, domain, ...options }) {
    super().setMaxListeners(0);
    const client = signer.address.toLowerCase(), key = [client, asset.toLowerCase(), 0n];
    const state = { own: { nonce: 0n, transferred: 0n }, hub: { nonce: 0n, transferred: 0n, update: null }, kept: [],
      payments: {}, invoices: {}, settlement: null }; // kept: our updates that the hub has not acknowledged
    Object.assign(this, { signer, domain, client, key, asset: key[1], confirmations: 3, pollMs: 500, state }, options);
    this.id = ethers.keccak256(ethers.AbiCoder.defaultAbiCoder().encode(['address', 'address', 'uint64'], key));
    this.contract = new ethers.Contract(domain.verifyingContract, ABI, signer.connect(this.provider));
  }
  turn(work) { // one thing at a time
    return (this.last = Promise.resolve(this.last).catch(() => {}).then(work).finally(() => this.emit('news')));
  }
  async say(...message) { // what it tells of is durable before it leaves
    await this.save(this.state);
    this.socket?.write(frame(message));
  }
  async until(find) {
    for (; !find(); await once(this, 'news')) if (this.socket?.destroyed ?? true) throw this.failure;
    return find();
  }
  async look() { // at the ledger, as one's own node has it
    const blockTag = await this.provider.getBlockNumber() - this.confirmations;
    const [total, base, seq, status] = await this.contract.channel(this.key, { blockTag });
    const { timestamp } = await this.provider.getBlock(blockTag), { settlement } = this.state;
    this.seen = { total, base, seq, status, now: BigInt(timestamp) };
    if (settlement && least(seq, this.told?.seq ?? 0n) >= settlement.seq) this.state.settlement = null;
    this.emit('news');
  }
  available(isClient, { total, base, seq }) { // what a settlement takes out is gone until these funds show it settled
    const { own, hub, settlement } = this.state, balance = base - own.transferred + hub.transferred;
    const { clientOut, hubOut } = settlement && seq < settlement.seq ? settlement : { clientOut: 0n, hubOut: 0n };
    const reserve = base > 0n ? base * this.terms.reserveBps / 10000n : 0n;
    return isClient ? balance - clientOut - reserve : total - balance - hubOut;
  }
  get balance() { return this.seen.base - this.state.own.transferred + this.state.hub.transferred; }
  get spendable() { return least(this.available(true, this.seen), this.available(true, this.told)); }
  async connect() {
    this.hub = (await this.contract.hub()).toLowerCase();
    await this.look();
    this.failure = refusal('OFFLINE', 'the connection ended');
    Object.assign(this, { isInStep: false }, await openSession(this, this.host, this.port));
    const [, baseFee, feePpm, directLimit, reserveBps] = this.terms.assets.find(([asset]) => asset === this.asset);
    Object.assign(this.terms, { baseFee, feePpm, directLimit, reserveBps });
    this.running = Promise.all([this.read(this.socket, this.messages), this.watch(this.socket)]);
    await this.until(() => this.toShow === 0n);
  }
  async watch(socket) {
    for (; !socket.destroyed; await delay(this.pollMs)) await this.look().catch((error) => this.emit('trouble', error));
    this.emit('news'); // whoever waits looks up
  }
  async read(socket, messages) {
    try {
      for await (const message of messages) await this.turn(() => this.take(...message));
    } catch (error) {
      this.failure = error.code in CODES ? error : refusal('OFFLINE', error.message);
      socket.end(frame([ERROR, CODES[this.failure.code], { text: this.failure.message.slice(0, 200) }, true, []]));
    }
    Object.assign(this, { socket: null, isInStep: false }).emit('news');
  }
  async stop() { this.socket?.destroy(); await this.running; }
  async take(type, ...fields) {
    refuseIf(Number(type) === ERROR, nameOf(fields[0]), `the hub says: ${fields[1]?.text}`);
    if (Number(type) === PING) await this.say(PONG, ...fields);
    else if (Number(type) === CHANNEL) await this[CHANNEL](...fields);
    else if (fields[0] === this.id) await this[type](...fields.slice(1));
  }
  async [CHANNEL](client, asset, salt, total, base, seq, status, proposal, [proof], [hubsProof]) {
    if (this.toShow > 0n) this.toShow--;
    if (`${[client, asset, salt]}` !== `${this.key}`) return;
    const { own, hub, kept, payments, invoices } = this.state;
    const [known = 0n, , locked = 0n] = proof ?? [], [signed = 0n, , hubsLocked = 0n] = hubsProof ?? [];
    const isKnown = known <= own.nonce && known >= own.nonce - BigInt(kept.length) && signed >= hub.nonce;
    if (!isKnown || locked + hubsLocked > 0n) throw new Error('what is saved here is not what the hub knows');
    this.told = { total, base, seq, status };
    if (this.isInStep) return;
    this[ACK](known);
    await this.say(RESUME, this.id, hub.nonce, own.nonce, Object.keys(payments).filter((id) => isOpen(payments[id])));
    for (const update of this.state.kept) await this.say(UPDATE, this.id, ...update); // byte for byte
    const heard = Object.values(invoices).filter(({ paidBy, expiry }) => paidBy && this.seen.now <= expiry + DAY);
    if (heard.length > 0) await this.say(REVEAL, this.id, heard.map(({ paidBy, secret }) => [paidBy, secret]));
    this.isInStep = true;
    if (proposal[5] === '0x') await this[SETTLE_PROPOSE](...proposal);
  }
  [FUNDED](total, base, seq) { this.told = { total, base, seq, status: this.told.status || OPEN }; }
  async open(inbound) { // the hub's money, to be paid with
    await this.turn(() => this.say(OPEN_REQUEST, this.asset, inbound));
    await this.until(() => this.isInStep && this.seen.status === OPEN);
  }
  /** Gives the receipt; asked again for the same invoice it waits on: one secret is paid once. */
  async pay(text) {
    const invoice = readInvoice(text, this.domain), payment = await this.turn(() => this.startPayment(invoice));
    return this.until(() => { refuseIf(payment.code, payment.code, 'the money is back'); return payment.secret; });
  }
  async startPayment({ payee, asset, amount, secretHash, expiry: last, memo }) {
    const { terms, seen: { now }, state: { payments, kept } } = this, past = Object.values(payments);
    const earlier = past.find((one) => one.secretHash === secretHash && !one.code), limit = terms.directLimit;
    if (earlier) return earlier;
    const cost = amount + terms.baseFee + (amount * terms.feePpm + 999_999n) / 1_000_000n;
    refuseIf(!this.isInStep || kept.length > WINDOW / 2, 'OFFLINE', 'the hub takes no updates now'); // room for refunds
    const isOther = asset !== this.asset || payee === this.client || now > last || amount === 0n || amount >= limit;
    refuseIf(isOther, 'INVOICE', 'of another asset, own, expired, or not of an amount that is paid directly');
    refuseIf(cost > this.spendable, 'AVAILABLE', `${this.spendable} can be spent`);
    refuseIf(past.filter(isOpen).length >= 16, 'LIMIT', 'too much is on its way without a receipt'); // 16 × limit
    const id = ethers.hexlify(randomBytes(16)), expiry = now + (terms.min_expiry_s + terms.max_expiry_s) / 2n;
    const operation = [PAY, id, payee, amount, cost - amount, expiry, secretHash, memo];
    await this.send([operation], () => { payments[id] = { cost, secretHash }; });
    return payments[id];
  }
  async send(operations, apply) { // one nonce is signed once; kept, and sent again as it is, until acknowledged
    const { own, kept } = this.state, transferred = own.transferred + sum(movesOf(operations));
    const update = [own.nonce + 1n, transferred, 0n, ethers.ZeroHash, ethers.hexlify(pack(operations))];
    update.push(await sign(this.signer, this.domain, 'BalanceProof', proofOf(this.id, update)));
    [own.nonce, own.transferred] = update;
    kept.push(update);
    apply();
    return this.say(UPDATE, this.id, ...update);
  }
  [ACK](nonce) { this.state.kept = this.state.kept.filter((update) => update[0] > nonce); }
  [REVEAL](items) {
    for (const [id, secret] of items)
      if (this.state.payments[id]?.secretHash === ethers.sha256(secret)) this.state.payments[id].secret = secret;
  }
  async invoice(amount, memo = '', seconds = 3600n) {
    refuseIf(amount <= 0n || amount >= this.terms.directLimit, 'AMOUNT', 'payers would lock it');
    const { host, port, domain } = this, secret = ethers.hexlify(randomBytes(32)), expiry = this.seen.now + seconds;
    const fields = [1n, BigInt(domain.chainId), domain.verifyingContract.toLowerCase(), { text: `${host}:${port}` },
      this.client, this.asset, amount, ethers.sha256(secret), expiry, { text: memo }];
    this.state.invoices[ethers.sha256(secret)] = { secret, amount, expiry, memo, paidBy: null };
    await this.turn(() => this.save(this.state)); // before anybody can pay it
    return textOf([...fields, await sign(this.signer, domain, 'Invoice', signedPart(fields))]);
  }
  async [UPDATE](...update) {
    const { state: { hub, payments, invoices }, seen: { now } } = this, refunds = [], paid = [];
    const operations = `${update}` === `${hub.update}` ? [] : await this.judge(update);
    for (const [type, id, first, amount, , , secretHash] of operations) {
      const { [id]: payment } = payments, { [secretHash]: invoice } = invoices;
      const code = amount !== invoice?.amount ? 'INVOICE' : now > invoice.expiry ? 'EXPIRED' : 'PAID';
      if (type === REFUND && payment && isOpen(payment) && first === payment.cost) payment.code = nameOf(amount);
      else if (code === 'PAID' && (invoice.paidBy ?? id) === id) paid.push(Object.assign(invoice, { paidBy: id }));
      else if (type === PAY) refunds.push([REFUND, id, amount, BigInt(CODES[code])]);
    }
    const accept = () => { [hub.nonce, hub.transferred] = update; hub.update = update; };
    await (refunds.length > 0 ? this.send(refunds, accept) : accept());
    await this.say(ACK, this.id, hub.nonce);
    if (paid.length > 0) await this.say(REVEAL, this.id, paid.map(({ paidBy, secret }) => [paidBy, secret]));
    for (const invoice of paid) this.emit('received', invoice);
  }
  async judge(update) { // the operations of a good update; throws the rule that it breaks, and nothing has changed
    const { hub } = this.state, [nonce, transferred, locked, locksRoot, body, signature] = update;
    refuseIf(nonce !== hub.nonce + 1n, 'NONCE', `the next nonce is ${hub.nonce + 1n}, not ${nonce}`);
    const operations = unpack(body, 'BODY'), moves = movesOf(operations), sumOf = hub.transferred + sum(moves);
    refuseIf(moves.length === 0 || moves.some((one) => one < 0n), 'BODY', 'only pay and refund are taken here');
    const isSigned = isSignedBy(this.hub, this.domain, 'BalanceProof', proofOf(this.id, update), signature);
    refuseIf(!isSigned, 'SIGNATURE', 'not the hub’s signature');
    refuseIf(transferred !== sumOf || sumOf >= AMOUNT_LIMIT, 'TRANSFERRED', `the operations make it ${sumOf}`);
    refuseIf(locked !== 0n || locksRoot !== ethers.ZeroHash, 'LOCKED', 'there are no locks');
    const isCovered = (funds) => funds.status === OPEN && this.available(false, funds) >= sum(moves);
    await this.until(() => isCovered(this.seen) || !isCovered(this.told)); // one's own node may still have to see it
    refuseIf(!isCovered(this.seen), 'AVAILABLE', 'the hub does not have that much');
    return operations;
  }
  async settle(amount) {
    refuseIf(amount > this.spendable || this.state.settlement, 'AVAILABLE', `${this.spendable} can be spent`);
    const wish = this.wish = { amount };
    await this.turn(() => this.say(SETTLE_REQUEST, this.id, amount, false));
    await this.until(() => wish.seq && !this.state.settlement);
  }
  async [SETTLE_PROPOSE](seq, clientOut, hubOut, deadline, close) {
    const item = { channel: this.id, seq, clientOut, hubOut, deadline, close }, { state, wish } = this;
    await this.until(() => this.seen.seq >= this.told.seq);
    const isSame = state.settlement && Object.keys(item).every((name) => item[name] === state.settlement[name]);
    const { seen } = this, isNext = !state.settlement && seen.status === OPEN && seq === seen.seq + 1n && !close;
    const isTimely = deadline > seen.now && deadline - seen.now <= this.terms.settle_window_s;
    const isWish = wish?.amount === clientOut && !wish.seq && clientOut <= this.available(true, seen);
    const isFair = (clientOut === 0n || isWish) && hubOut <= this.available(false, seen);
    refuseIf(!isSame && !(isNext && isTimely && isFair), 'SETTLE', 'not asked for, or not possible now');
    if (!isSame) state.settlement = { ...item, signature: await sign(this.signer, this.domain, 'Settlement', item) };
    if (wish && clientOut > 0n) wish.seq = seq;
    await this.say(SETTLE_SIGN, this.id, seq, state.settlement.signature);
  }
  [SETTLED](seq, outcome) { // 0: done
    const { told, state: { settlement: one } } = this;
    if (outcome !== 0n || one?.seq !== seq || told.seq >= seq) return;
    this.told = { ...told, seq, total: told.total - one.clientOut - one.hubOut, base: told.base - one.clientOut };
  }
}
