// Where the gas of one transaction went: what its bytes cost, and each kind of instruction, from anvil's trace. The parts
// add up to the receipt's gasUsed, or this throws.
import { ethers } from './twins.mjs';

const BASE = 21_000, ZERO_BYTE = 4, BYTE = 16, FLOOR_PER_TOKEN = 10;

export function calldataCost(data) {
  const bytes = ethers.getBytes(data);
  const zeros = bytes.reduce((count, byte) => count + (byte === 0 ? 1 : 0), 0);
  const cost = zeros * ZERO_BYTE + (bytes.length - zeros) * BYTE;
  // EIP-7623: what a transaction costs at least, by its bytes. A batch computes far more than that.
  return { cost, floor: BASE + FLOOR_PER_TOKEN * (cost / ZERO_BYTE) };
}

const KINDS = { SLOAD: 'storage', SSTORE: 'storage', STATICCALL: 'ecrecover', CALL: 'payouts', KECCAK256: 'hashes', SHA3: 'hashes' };
const kindOf = (op) => KINDS[op] ?? (op.startsWith('LOG') ? 'events' : 'execution');

/**
 * Each outer instruction's own cost is what gas fell until the next one at the same depth, so that a call counts
 * with everything inside it.
 */
export async function partsOf(node, { hash, data, gas }) {
  const trace = await node.ask('debug_traceTransaction', hash, { disableStack: true, disableMemory: true, disableStorage: true });
  const outer = trace.structLogs.filter((step) => step.depth === trace.structLogs[0].depth);
  const { cost, floor } = calldataCost(data);
  if (gas <= floor) throw new Error(`${gas} gas is the floor that calldata sets, not what was executed`);
  const parts = { base: BASE, calldata: cost, storage: 0, ecrecover: 0, events: 0, payouts: 0, hashes: 0, execution: 0 };
  outer.forEach(({ op, gas: before, gasCost }, i) => {
    parts[kindOf(op)] += i + 1 < outer.length ? before - outer[i + 1].gas : gasCost;
  });
  const sum = Object.values(parts).reduce((total, part) => total + part);
  if (sum !== gas) throw new Error(`the parts add up to ${sum}, the receipt says ${gas}`);
  return parts;
}
