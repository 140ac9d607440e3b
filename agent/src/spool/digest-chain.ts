import { createHash } from 'node:crypto';
import { chainLink } from '@opsconductor/protocol';

/** The digest over an attempt's chunks, one link per chunk in the order of `seq`. `frames.ts` defines it. */
export class DigestChain {
  #digest: Buffer;

  /** @param from the digest over the chunks that an earlier agent sent, base64. */
  constructor(from?: string) {
    this.#digest = from === undefined ? Buffer.alloc(32) : Buffer.from(from, 'base64');
  }

  add(chunk: Parameters<typeof chainLink>[0]): void {
    this.#digest = createHash('sha256').update(this.#digest).update(chainLink(chunk)).digest();
  }

  get base64(): string {
    return this.#digest.toString('base64');
  }
}
