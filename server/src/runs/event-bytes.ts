// Server-sent events as bytes. A chunk's base64 is written into them once: as part of ever longer texts the output of a
// fast command fills the heap, and collecting it took as long as everything else together.

export class EventBytes {
  readonly #parts: { text: string; encoding: 'utf8' | 'latin1' }[] = [];
  #length = 0;

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  add(text: string): void {
    this.#parts.push({ text, encoding: 'utf8' });
    this.#length += Buffer.byteLength(text);
  }

  addBase64(bytes: Uint8Array): void {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
    this.#parts.push({ text, encoding: 'latin1' });
    this.#length += text.length;
  }

  toBuffer(): Buffer {
    const all = Buffer.allocUnsafe(this.#length);
    let at = 0;
    for (const { text, encoding } of this.#parts) at += all.write(text, at, encoding);
    return all;
  }
}
