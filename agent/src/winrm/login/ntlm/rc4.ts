/**
 * RC4, which NTLM seals with and which OpenSSL 3 no longer has. One stream: each call continues where the last one
 * ended.
 */
export class Rc4 {
  readonly #state = new Uint8Array(256);
  #i = 0;
  #j = 0;

  constructor(key: Buffer) {
    const state = this.#state;
    for (let n = 0; n < 256; n += 1) state[n] = n;
    for (let n = 0, j = 0; n < 256; n += 1) {
      j = (j + (state[n] as number) + (key[n % key.length] as number)) & 0xff;
      [state[n], state[j]] = [state[j] as number, state[n] as number];
    }
  }

  apply(data: Buffer): Buffer {
    const out = Buffer.allocUnsafe(data.length);
    const state = this.#state;
    let i = this.#i;
    let j = this.#j;
    // Megabytes pass through here, so no destructuring.
    for (let at = 0; at < data.length; at += 1) {
      i = (i + 1) & 0xff;
      const a = state[i] as number;
      j = (j + a) & 0xff;
      const b = state[j] as number;
      state[i] = b;
      state[j] = a;
      out[at] = (data[at] as number) ^ (state[(a + b) & 0xff] as number);
    }
    this.#i = i;
    this.#j = j;
    return out;
  }
}
