// SHA-256 of bytes that come one piece after the other (FIPS 180-4). The browser's own takes only all of them at once,
// which a file of 4 GiB is too large for, and is missing on pages without HTTPS.

const primes: number[] = [];
for (let candidate = 2; primes.length < 64; candidate += 1) {
  if (primes.every((prime) => candidate % prime !== 0)) primes.push(candidate);
}
const fraction = (value: number) => Math.floor((value % 1) * 2 ** 32) | 0;
const roundConstants = Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime)));
const startState = Int32Array.from(primes.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));
const blockBytes = 64;

export class Sha256 {
  readonly #state = startState.slice();
  readonly #words = new Int32Array(64);
  readonly #rest = new Uint8Array(blockBytes);
  #restBytes = 0;
  #length = 0;

  update(bytes: Uint8Array): this {
    this.#length += bytes.length;
    let at = 0;
    if (this.#restBytes > 0) {
      at = Math.min(bytes.length, blockBytes - this.#restBytes);
      this.#rest.set(bytes.subarray(0, at), this.#restBytes);
      this.#restBytes += at;
      if (this.#restBytes < blockBytes) return this;
      this.#take(this.#rest, 0);
      this.#restBytes = 0;
    }
    for (; at + blockBytes <= bytes.length; at += blockBytes) this.#take(bytes, at);
    this.#rest.set(bytes.subarray(at));
    this.#restBytes = bytes.length - at;
    return this;
  }

  /** In hex, of everything so far; more may follow. */
  hex(): string {
    const state = this.#state.slice();
    const end = paddedEnd(this.#rest.subarray(0, this.#restBytes), this.#length);
    for (let at = 0; at < end.length; at += blockBytes) this.#take(end, at);
    const hex = Array.from(this.#state, (word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
    this.#state.set(state);
    return hex;
  }

  #take(bytes: Uint8Array, at: number): void {
    const words = this.#words;
    for (let index = 0; index < 16; index += 1) {
      const from = at + index * 4;
      words[index] =
        ((bytes[from] as number) << 24) |
        ((bytes[from + 1] as number) << 16) |
        ((bytes[from + 2] as number) << 8) |
        (bytes[from + 3] as number);
    }
    for (let index = 16; index < 64; index += 1) {
      const early = words[index - 15] as number;
      const late = words[index - 2] as number;
      const small0 = turned(early, 7) ^ turned(early, 18) ^ (early >>> 3);
      const small1 = turned(late, 17) ^ turned(late, 19) ^ (late >>> 10);
      words[index] = (words[index - 16] as number) + small0 + (words[index - 7] as number) + small1;
    }
    const state = this.#state;
    let a = state[0] as number;
    let b = state[1] as number;
    let c = state[2] as number;
    let d = state[3] as number;
    let e = state[4] as number;
    let f = state[5] as number;
    let g = state[6] as number;
    let h = state[7] as number;
    for (let index = 0; index < 64; index += 1) {
      const big1 = turned(e, 6) ^ turned(e, 11) ^ turned(e, 25);
      const added = (roundConstants[index] as number) + (words[index] as number);
      const first = (h + big1 + ((e & f) ^ (~e & g)) + added) | 0;
      const big0 = turned(a, 2) ^ turned(a, 13) ^ turned(a, 22);
      const second = (big0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + first) | 0;
      d = c;
      c = b;
      b = a;
      a = (first + second) | 0;
    }
    // What is stored here is cut off at 32 bits.
    state[0] = (state[0] as number) + a;
    state[1] = (state[1] as number) + b;
    state[2] = (state[2] as number) + c;
    state[3] = (state[3] as number) + d;
    state[4] = (state[4] as number) + e;
    state[5] = (state[5] as number) + f;
    state[6] = (state[6] as number) + g;
    state[7] = (state[7] as number) + h;
  }
}

/** What follows the last whole block: the rest, and how many bits there were in all (FIPS 180-4, 5.1.1). */
export function paddedEnd(rest: Uint8Array, length: number): Uint8Array {
  const end = new Uint8Array(rest.length < blockBytes - 8 ? blockBytes : 2 * blockBytes);
  end.set(rest);
  end[rest.length] = 0x80;
  new DataView(end.buffer).setBigUint64(end.length - 8, BigInt(length) * 8n);
  return end;
}

function turned(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}
