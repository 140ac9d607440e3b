// Reads SSH's wire format (RFC 4251, section 5) from untrusted bytes.

export class WireError extends Error {}

export class WireReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Number of bytes read so far. */
  get position(): number {
    return this.#at;
  }

  string(): Buffer {
    const length = this.uint32();
    if (length > this.#bytes.length - this.#at) throw new WireError('it ends too early');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  text(): string {
    return this.string().toString('latin1');
  }

  uint32(): number {
    this.#need(4);
    this.#at += 4;
    return this.#bytes.readUInt32BE(this.#at - 4);
  }

  uint64(): bigint {
    this.#need(8);
    this.#at += 8;
    return this.#bytes.readBigUInt64BE(this.#at - 8);
  }

  /** Reads a string that is itself a sequence of strings. */
  strings(): string[] {
    const inner = new WireReader(this.string());
    const all: string[] = [];
    while (!inner.atEnd) all.push(inner.text());
    return all;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  end(): void {
    if (!this.atEnd) throw new WireError('it is followed by bytes that do not belong to it');
  }

  #need(count: number): void {
    if (this.#bytes.length - this.#at < count) throw new WireError('it ends too early');
  }
}

/** Encodes a string in wire format: its length, then its bytes. */
export function wireString(value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
