// What is signed and proven in Rill, computed with ethers, independent of both ledgers.
import { createHash } from 'node:crypto';
import { CHAIN_ID, CONTRACT, ethers } from './twins.mjs';

const abi = ethers.AbiCoder.defaultAbiCoder();
export const ZERO = ethers.ZeroHash;
export const domainOf = (verifyingContract) => ethers.TypedDataEncoder.hashDomain({
  name: 'Rill', version: '1', chainId: CHAIN_ID, verifyingContract,
});
const DOMAIN = domainOf(CONTRACT);

const TYPES = Object.fromEntries([
  'BalanceProof(bytes32 channel,uint64 nonce,uint64 transferred,uint64 locked,bytes32 locksRoot,bytes32 bodyHash)',
  'Settlement(bytes32 channel,uint32 seq,uint64 clientOut,uint64 hubOut,uint64 deadline,bool close)',
  'Revocation(bytes32 channel,uint64 minNonce)',
  'Choice(bytes32 proofDigest,address tower)',
  'Attestation(bytes32 eventId)',
].map((text) => {
  const [, name, list] = /^(\w+)\((.*)\)$/.exec(text);
  const fields = list.split(',').map((field) => field.split(' '));
  const types = ['bytes32', ...fields.map(([type]) => type)];
  return [name, { hash: ethers.id(text), types, names: fields.map(([, field]) => field) }];
}));

export function digestOf(type, message, domain = DOMAIN) {
  const { hash, types, names } = TYPES[type];
  const struct = ethers.keccak256(abi.encode(types, [hash, ...names.map((name) => message[name])]));
  return ethers.keccak256(ethers.concat(['0x1901', domain, struct]));
}

/** [r, vs] of the compact signature. */
export function sign(wallet, digest) {
  const signature = wallet.signingKey.sign(digest);
  return [signature.r, signature.yParityAndS];
}

export const channelId = (key) => ethers.keccak256(abi.encode(['address', 'address', 'uint64'], key));
export const leafOf = (lock) => ethers.keccak256(ethers.keccak256(
  abi.encode(['uint64', 'uint64', 'uint64', 'uint8', 'bytes32'], lock)));
export const conditionOfSecret = (secret) => '0x' + createHash('sha256').update(Buffer.from(secret.slice(2), 'hex')).digest('hex');
export const conditionOfAttestation = (attester, event) =>
  ethers.keccak256(abi.encode(['address', 'bytes32'], [attester, event]));

const DEPTH = 10;
const node = (a, b) => {
  if (a === undefined || b === undefined) return a ?? b;
  return ethers.keccak256(BigInt(a) < BigInt(b) ? ethers.concat([a, b]) : ethers.concat([b, a]));
};

/** The levels of the tree over these locks [id, amount, expiry, kind, condition], each a map from place to node. */
export function treeOf(locks) {
  const levels = [new Map(locks.map((lock) => [Number(BigInt(lock[0]) % 1024n), leafOf(lock)]))];
  for (let depth = 0; depth < DEPTH; depth++) {
    const below = levels[depth], level = new Map();
    for (const place of below.keys()) {
      const at = place & ~1;
      level.set(at >> 1, node(below.get(at), below.get(at + 1)));
    }
    levels.push(level);
  }
  return levels;
}
export const rootOf = (levels) => levels[DEPTH].get(0) ?? ZERO;
export function proofOf(levels, id) {
  const proof = [];
  let place = Number(BigInt(id) % 1024n);
  for (let depth = 0; depth < DEPTH; depth++, place >>= 1) {
    const sibling = levels[depth].get(place ^ 1);
    if (sibling !== undefined) proof.push(sibling);
  }
  return proof;
}
