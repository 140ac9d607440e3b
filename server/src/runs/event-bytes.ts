// Server-sent events as bytes. A chunk's base64 is made once: as part of ever longer texts the output of a fast command
// fills the heap, and as a copy for each of many readers it fills the memory.

/** A shorter text is copied together with what is around it: each piece is a write of its own. */
const sharedFromBytes = 64 * 1024;

export class EventBytes {
  readonly #parts: (string | Buffer)[] = [];

  get isEmpty(): boolean {
    return this.#parts.length === 0;
  }

  add(text: string): void {
    this.#parts.push(text);
  }

  /** What others may hold as well: where it is long it is passed on as it is. */
  addShared(text: Buffer): void {
    this.#parts.push(text);
  }

  /** In order; the long shared ones are those that were added. */
  toPieces(): Buffer[] {
    const pieces: Buffer[] = [];
    let together: (string | Buffer)[] = [];
    const flush = () => {
      if (together.length > 0) pieces.push(copied(together));
      together = [];
    };
    for (const part of this.#parts) {
      if (typeof part === 'string' || part.length < sharedFromBytes) together.push(part);
      else {
        flush();
        pieces.push(part);
      }
    }
    flush();
    return pieces;
  }
}

function copied(parts: readonly (string | Buffer)[]): Buffer {
  const all = Buffer.allocUnsafe(parts.reduce((sum, part) => sum + Buffer.byteLength(part), 0));
  let at = 0;
  for (const part of parts) at += typeof part === 'string' ? all.write(part, at) : part.copy(all, at);
  return all;
}

/** Bytes as base64, as bytes. */
export function base64Bytes(bytes: Uint8Array): Buffer {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
  return Buffer.from(text, 'latin1');
}
