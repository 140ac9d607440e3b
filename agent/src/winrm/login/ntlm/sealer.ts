// One direction of a sealed NTLM session (MS-NLMP 3.4.4.2).
import { timingSafeEqual } from 'node:crypto';
import { type Direction, hmacMd5, sealingKey, signingKey } from './keys.ts';
import { flags } from './messages.ts';
import { Rc4 } from './rc4.ts';

const signatureVersion = 1;

export class NtlmSealer {
  readonly #signingKey: Buffer;
  readonly #stream: Rc4;
  readonly #keyExchange: boolean;
  #sequence = 0;

  constructor(sessionKey: Buffer, direction: Direction, agreed: number) {
    this.#signingKey = signingKey(sessionKey, direction);
    this.#stream = new Rc4(sealingKey(sessionKey, direction, agreed));
    this.#keyExchange = (agreed & flags.keyExchange) !== 0;
  }

  seal(message: Buffer): { signature: Buffer; data: Buffer } {
    const data = this.#stream.apply(message);
    return { signature: this.#sign(message), data };
  }

  /** Returns undefined for anything that the other side has not sealed as its next message. */
  unseal(signature: Buffer, data: Buffer): Buffer | undefined {
    const message = this.#stream.apply(data);
    const expected = this.#sign(message);
    return expected.length === signature.length && timingSafeEqual(expected, signature) ? message : undefined;
  }

  #sign(message: Buffer): Buffer {
    const signature = Buffer.alloc(16);
    signature.writeUInt32LE(signatureVersion, 0);
    signature.writeUInt32LE(this.#sequence, 12);
    const checksum = hmacMd5(this.#signingKey, signature.subarray(12), message).subarray(0, 8);
    (this.#keyExchange ? this.#stream.apply(checksum) : checksum).copy(signature, 4);
    this.#sequence = (this.#sequence + 1) >>> 0;
    return signature;
  }
}
