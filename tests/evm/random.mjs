// Random choices that a seed repeats on every machine.
import { createHash } from 'node:crypto';

export class Random {
  constructor(seed) {
    this.seed = seed;
    this.counter = 0;
    this.pool = Buffer.alloc(0);
  }

  bytes(length) {
    while (this.pool.length < length) {
      const more = createHash('sha512').update(`${this.seed}:${this.counter++}`).digest();
      this.pool = Buffer.concat([this.pool, more]);
    }
    const out = this.pool.subarray(0, length);
    this.pool = this.pool.subarray(length);
    return out;
  }

  hash() { return '0x' + this.bytes(32).toString('hex'); }
  /** 0 … limit - 1, as a number. */
  below(limit) { return this.bytes(6).readUIntBE(0, 6) % limit; }
  big() { return this.bytes(8).readBigUInt64BE(); }
  bool() { return this.below(2) === 1; }
  chance(percent) { return this.below(100) < percent; }
  pick(list) { return list[this.below(list.length)]; }
  /** From [[weight, thing], …]. */
  weighted(list) {
    let at = this.below(list.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, thing] of list) if ((at -= weight) < 0) return thing;
    throw new Error('no weights');
  }
}
