// What Rill looks like from outside, in JavaScript: the signed types, MessagePack, frames, the text of an invoice, and
// the handshake. In here bytes are '0x…' in lower case, numbers are bigint, and a text is { text }, so that a body's
// bin and str cannot be mixed up. docs/own-wallet.md goes through it.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import tls from 'node:tls';
import { ethers, project } from './twins.mjs';

const { decode, encode } = createRequire(join(project, 'ledger', 'contracts', 'package.json'))('@msgpack/msgpack');

export const [HELLO, CHALLENGE, AUTH, WELCOME, REDIRECT, UPDATE, ACK, REVEAL, FAIL, REVOKE, SETTLE_REQUEST,
  SETTLE_PROPOSE, SETTLE_SIGN, SETTLED, PING, PONG, ERROR, FUNDED, RESUME, CHANNEL, LOCKS, OPEN_REQUEST] =
  Array.from({ length: 22 }, (_, i) => i + 1);
export const [PAY, LOCK, UNLOCK, EXPIRE, CANCEL, REFUND] = [1, 2, 3, 4, 5, 6];
export const AMOUNT_LIMIT = 1n << 63n;
const FRAME_BYTES_MAX = 256 * 1024;
const SILENCE_MS = 90_000;
const MESSAGEPACK = {
  useBigInt64: true, maxStrLength: 256, maxBinLength: 65536, maxArrayLength: 1024, maxMapLength: 64,
};

export const CODES = {
  VERSION: 1, AUTH: 2, MALFORMED: 3, LIMIT: 4, CHANNEL: 5, STATUS: 6, REPLACED: 7, STOPPING: 8, SIGNATURE: 20,
  NONCE: 21, TRANSFERRED: 22, LOCKED: 23, ROOT: 24, AVAILABLE: 25, LOCK_ID: 26, NO_LOCK: 27, WITNESS: 28,
  NOT_EXPIRED: 29, NOT_FAILED: 30, BODY: 31, PAYEE: 40, ROOM: 41, EXPIRED: 42, INVOICE: 43, AMOUNT: 44, FEE: 45,
  DUPLICATE: 46, PAID: 47, OFFLINE: 48, SETTLE: 60,
};
export const codeName = (code) => Object.keys(CODES).find((name) => BigInt(CODES[name]) === BigInt(code)) ?? 'UNKNOWN';

/** A rule of the protocol says no; `code` is the rule's name. */
export class Refusal extends Error {
  constructor(code, text) {
    super(`${code}: ${text}`);
    this.code = code;
  }
}

// ---- what is signed: EIP-712, as any wallet does it

export const TYPES = Object.fromEntries([
  'BalanceProof(bytes32 channel,uint64 nonce,uint64 transferred,uint64 locked,bytes32 locksRoot,bytes32 bodyHash)',
  'Settlement(bytes32 channel,uint32 seq,uint64 clientOut,uint64 hubOut,uint64 deadline,bool close)',
  'Revocation(bytes32 channel,uint64 minNonce)',
  'Choice(bytes32 proofDigest,address tower)',
  'Invoice(address payee,address asset,uint64 amount,bytes32 secretHash,uint64 expiry,bytes32 memoHash)',
  'Attestation(bytes32 eventId)',
  'Session(address client,bytes32 challenge,bytes32 tlsCertHash)',
  'Receipt(bytes32 channel,uint64 nonce,bytes32 proofDigest)',
].map((line) => {
  const [, name, list] = /^(\w+)\((.*)\)$/.exec(line);
  const fields = list.split(',').map((field) => field.split(' '));
  return [name, { [name]: fields.map(([type, field]) => ({ type, name: field })) }];
}));

export const domainOf = (chainId, contract) => ({ name: 'Rill', version: '1', chainId, verifyingContract: contract });

/** The 64 bytes of the wire: r, then s with the parity in its top bit (EIP-2098). `signer` is any ethers signer. */
export async function sign(signer, domain, type, message) {
  return ethers.Signature.from(await signer.signTypedData(domain, TYPES[type], message)).compactSerialized;
}

/** The parity is a hint only: either one that recovers the signer is good. */
export function isSignedBy(address, domain, type, message, signature) {
  if (ethers.dataLength(signature) !== 64) return false;
  const digest = ethers.TypedDataEncoder.hash(domain, TYPES[type], message);
  const { r, s, yParity } = ethers.Signature.from(signature);
  return [yParity, 1 - yParity].some((parity) => {
    try {
      return ethers.recoverAddress(digest, ethers.Signature.from({ r, s, yParity: parity })).toLowerCase() === address;
    } catch {
      return false; // not a point of the curve
    }
  });
}

// ---- MessagePack and frames

const mapOf = (map, change) => Object.fromEntries(Object.entries(map).map(([key, value]) => [key, change(value)]));
const lower = (value) => {
  if (Array.isArray(value)) return value.map(lower);
  // The package writes a bigint in nine bytes, and a number above 32 bits as a float: the fewest bytes need both.
  if (typeof value === 'bigint') return value >= -0x80000000n && value <= 0xffffffffn ? Number(value) : value;
  if (typeof value === 'string') return ethers.getBytes(value);
  if (typeof value !== 'object') return value;
  return 'text' in value ? value.text : mapOf(value, lower);
};
const lift = (value) => {
  if (Array.isArray(value)) return value.map(lift);
  if (value instanceof Uint8Array) return ethers.hexlify(value);
  if (typeof value === 'string') return { text: value };
  if (typeof value === 'bigint' || typeof value === 'boolean') return value;
  if (Number.isSafeInteger(value)) return BigInt(value); // a float that is whole passes: JavaScript has one kind
  if (value?.constructor === Object) return mapOf(value, lift);
  throw new Refusal('MALFORMED', 'nil, float and ext are not spoken here');
};
export const pack = (value) => Buffer.from(encode(lower(value), MESSAGEPACK));
export const unpack = (bytes) => lift(decode(ethers.getBytes(bytes), MESSAGEPACK));

export function frame(message) {
  const bytes = pack(message), head = Buffer.alloc(4);
  head.writeUInt32BE(bytes.length);
  return Buffer.concat([head, bytes]);
}

async function* framesOf(socket) {
  let bytes = Buffer.alloc(0);
  for await (const chunk of socket) {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 4) {
      const end = 4 + bytes.readUInt32BE(0);
      if (end > 4 + FRAME_BYTES_MAX) throw new Refusal('MALFORMED', 'a frame that is too long');
      if (bytes.length < end) break;
      const [type, ...fields] = unpack(bytes.subarray(4, end));
      yield [Number(type), ...fields];
      bytes = bytes.subarray(end);
    }
  }
}

// A number's type is 'n'; bytes have their length, '*' any; 't' is a text.
const OPERATIONS = {
  [PAY]: [16, 20, 'n', 'n', 'n', 32, 't'], [LOCK]: [16, 20, 'n', 'n', 'n', 'n', 'n', 32, 't'], [UNLOCK]: ['n', '*'],
  [EXPIRE]: ['n'], [CANCEL]: ['n'], [REFUND]: [16, 'n', 'n'],
};
const fits = (want, value) => (want === 'n' ? typeof value === 'bigint' && value >= 0n && value < AMOUNT_LIMIT
  : want === 't' ? Buffer.byteLength(value?.text ?? ' '.repeat(257)) <= 256
    : ethers.isHexString(value, want === '*' ? true : want));

/** The operations of an update, [[type, field…], …]; BODY if they are not well-formed. */
export function readBody(body) {
  let operations;
  try {
    operations = unpack(body).map(([type, ...fields]) => [Number(type), ...fields]);
  } catch {
    operations = [];
  }
  const isGood = ([type, ...fields]) => OPERATIONS[type]?.every((want, i) => fits(want, fields[i]));
  if (operations.length === 0 || !operations.every(isGood)) throw new Refusal('BODY', 'the body is malformed');
  return operations;
}

// ---- invoices: rill: and base32

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const regroup = (digits, from, to, least) => digits.map((digit) => digit.toString(2).padStart(from, '0')).join('')
  .match(new RegExp(`.{${least},${to}}`, 'g')).map((bits) => parseInt(bits.padEnd(to, '0'), 2));
const textOf = (fields) => 'rill:' + regroup([...pack(fields)], 8, 5, 1).map((digit) => BASE32[digit]).join('');
const signedPart = ({ payee, asset, amount, secretHash, expiry, memo }) =>
  ({ payee, asset, amount, secretHash, expiry, memoHash: ethers.id(memo.text) });

export async function writeInvoice(signer, domain, endpoint, invoice) {
  const { payee, asset, amount, secretHash, expiry, memo } = invoice;
  const signature = await sign(signer, domain, 'Invoice', signedPart(invoice));
  return textOf([1n, domain.chainId, domain.verifyingContract, { text: endpoint }, payee, asset, amount, secretHash,
    expiry, memo, signature]);
}

export function readInvoice(text, domain) {
  const refuse = (why) => { throw new Refusal('INVOICE', why); };
  let fields = [];
  try {
    fields = unpack(Uint8Array.from(regroup([...text.slice(5)].map((letter) => BASE32.indexOf(letter)), 5, 8, 8)));
  } catch { /* told apart below */ }
  if (fields.length !== 11 || textOf(fields) !== text) refuse('not the text of an invoice'); // one invoice has one text
  const [version, chainId, contract, , payee, asset, amount, secretHash, expiry, memo, signature] = fields;
  if (version !== 1n) refuse('another version');
  if (chainId !== BigInt(domain.chainId)) refuse(`for chain ${chainId}, not ${domain.chainId}`);
  if (contract !== domain.verifyingContract.toLowerCase()) refuse('for another hub’s contract');
  const invoice = { payee, asset, amount, secretHash, expiry, memo };
  if (!isSignedBy(payee, domain, 'Invoice', signedPart(invoice), signature)) refuse('not signed by its payee');
  return invoice;
}

// ---- the handshake

/** Connects and proves both sides. Returns { socket, frames, terms, channels }. */
export async function openSession({ host, port, client, signer, domain, hub }, redirects = 3) {
  const socket = tls.connect({ host, port, minVersion: 'TLSv1.3', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  socket.setNoDelay();
  socket.setTimeout(SILENCE_MS, () => socket.destroy()); // the hub sends PING after 30 seconds
  socket.on('error', () => {}); // whoever reads the frames hears of it
  const frames = framesOf(socket);
  const say = (...message) => socket.write(frame(message));
  const hear = async (...wanted) => {
    const { value: message = [] } = await frames.next();
    if (message[0] === ERROR) throw new Refusal(codeName(message[1]), `the hub says: ${message[2].text}`);
    if (!wanted.includes(message[0])) throw new Refusal('MALFORMED', `message ${message[0]} is out of order`);
    return message;
  };
  try {
    // Any certificate will do: what counts is that the hub signs the hash of the one this connection shows.
    const tlsCertHash = ethers.keccak256(socket.getPeerCertificate().raw);
    const nonce = ethers.hexlify(randomBytes(32));
    say(HELLO, 1n, client, nonce, { text: 'own-wallet' });
    const [type, ...fields] = await hear(CHALLENGE, REDIRECT);
    if (type === REDIRECT) {
      if (redirects === 0) throw new Refusal('LIMIT', 'redirected too often');
      socket.destroy();
      return openSession({ host: fields[0].text, port: Number(fields[1]), client, signer, domain, hub }, redirects - 1);
    }
    const [challenge, hubsWord, chainId, contract, signature] = fields;
    const refuse = (why) => { throw new Refusal('AUTH', why); };
    if (chainId !== BigInt(domain.chainId)) refuse(`the hub is on chain ${chainId}, not ${domain.chainId}`);
    if (contract !== domain.verifyingContract.toLowerCase()) refuse(`the hub serves contract ${contract}`);
    const session = { client, challenge: ethers.keccak256(nonce), tlsCertHash };
    if (hubsWord !== hub || !isSignedBy(hub, domain, 'Session', session, signature))
      refuse(`the server did not prove that it is ${hub}: someone may be in between`);
    say(AUTH, await sign(signer, domain, 'Session', { client, challenge, tlsCertHash }));
    const [, terms, channels] = await hear(WELCOME);
    return { socket, frames, terms, channels: Number(channels) };
  } catch (error) {
    if (!(error instanceof Refusal)) socket.destroy();
    else socket.end(frame([ERROR, CODES[error.code], { text: error.message }, true, []]));
    throw error;
  }
}
