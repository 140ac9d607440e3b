// Builds server-sent events as bytes. The base64 of a long chunk is made only once: as part of ever longer strings, the
// output of a fast command would fill the heap, and copies for many readers would fill the memory.

/** The content of a chunk: its gzip bytes or, if it is long, their base64, which all its readers share. */
export type ChunkBody = { bytes: Uint8Array } | { base64: Buffer };

/**
 * Shorter chunks are copied together with the text around them, since each piece is a separate write. A multiple of
 * three.
 */
const sharedFromBytes = 48 * 1024;

export function chunkBody(bytes: Uint8Array): ChunkBody {
  return bytes.length < sharedFromBytes ? { bytes } : { base64: base64Bytes(bytes) };
}

/** Encodes piece by piece, because a long string would stay in the heap until the next full collection. */
function base64Bytes(bytes: Uint8Array): Buffer {
  const base64 = Buffer.allocUnsafe(Math.ceil(bytes.length / 3) * 4);
  let to = 0;
  for (let from = 0; from < bytes.length; from += sharedFromBytes)
    to += base64.write(base64Of(bytes.subarray(from, from + sharedFromBytes)), to, 'latin1');
  return base64;
}

export function bodyBytes(body: ChunkBody): number {
  return 'bytes' in body ? body.bytes.length : body.base64.length;
}

interface Text {
  text: string;
  encoding: 'utf8' | 'latin1';
}

export class EventBytes {
  readonly #parts: (Text | Buffer)[] = [];

  get isEmpty(): boolean {
    return this.#parts.length === 0;
  }

  add(text: string): void {
    this.#parts.push({ text, encoding: 'utf8' });
  }

  /** Adds a chunk's content as base64. */
  addBody(body: ChunkBody): void {
    this.#parts.push('bytes' in body ? { text: base64Of(body.bytes), encoding: 'latin1' } : body.base64);
  }

  /** Returns everything in order. The base64 of long chunks is passed on without copying. */
  toPieces(): Buffer[] {
    const pieces: Buffer[] = [];
    let texts: Text[] = [];
    const flush = () => {
      if (texts.length > 0) pieces.push(written(texts));
      texts = [];
    };
    for (const part of this.#parts) {
      if ('text' in part) texts.push(part);
      else {
        flush();
        pieces.push(part);
      }
    }
    flush();
    return pieces;
  }
}

function written(texts: readonly Text[]): Buffer {
  const bytes = texts.reduce((sum, { text, encoding }) => sum + Buffer.byteLength(text, encoding), 0);
  const all = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const { text, encoding } of texts) at += all.write(text, at, encoding);
  return all;
}

function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}
