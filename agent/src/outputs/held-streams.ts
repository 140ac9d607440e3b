// Holds back a stream that a secret output is read from. It is shown to nobody: it goes no further than here, and only
// its end is kept, until the output was found.
import { limits } from '@opsconductor/protocol';
import type { StreamEnd } from '../spool/attempt-output.ts';
import type { OutputSink, OutputStream } from '../steps/step-type.ts';

export class HeldStreams implements OutputSink {
  readonly #sink: OutputSink;
  readonly #ends = new Map<OutputStream, EndOfStream>();

  constructor(sink: OutputSink, streams: Iterable<OutputStream>) {
    this.#sink = sink;
    for (const stream of streams) this.#ends.set(stream, new EndOfStream(limits.maxOutputDocumentBytes));
  }

  write(stream: OutputStream, bytes: Buffer): boolean {
    const end = this.#ends.get(stream);
    if (end === undefined) return this.#sink.write(stream, bytes);
    const isFirst = end.isEmpty && bytes.length > 0;
    end.push(bytes);
    return isFirst ? this.#sink.write(stream, Buffer.from(noticeOf(stream))) : true;
  }

  drained(): Promise<void> {
    return this.#sink.drained();
  }

  expect(): void {
    this.#sink.expect?.();
  }

  /** Undefined for a stream that is shown. */
  endOf(stream: OutputStream, maxBytes: number): StreamEnd | undefined {
    return this.#ends.get(stream)?.last(maxBytes);
  }
}

function noticeOf(stream: OutputStream): string {
  return `[${stream} is not shown: a secret output is read from it]\n`;
}

class EndOfStream {
  readonly #maxBytes: number;
  #parts: Buffer[] = [];
  #heldBytes = 0;
  #allBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isEmpty(): boolean {
    return this.#allBytes === 0;
  }

  push(bytes: Buffer): void {
    // The producer reuses its memory.
    this.#parts.push(Buffer.from(bytes));
    this.#heldBytes += bytes.length;
    this.#allBytes += bytes.length;
    // Up to twice the limit, so that the parts are rarely joined. Many small parts are joined too, since each takes
    // extra memory.
    if (this.#heldBytes > 2 * this.#maxBytes || this.#parts.length > 4_096) {
      const end = this.#end();
      this.#parts = [end];
      this.#heldBytes = end.length;
    }
  }

  last(maxBytes: number): StreamEnd {
    const end = this.#end();
    const bytes = end.subarray(Math.max(0, end.length - maxBytes));
    return { bytes, isWhole: bytes.length === this.#allBytes, isCut: false };
  }

  #end(): Buffer {
    const all = Buffer.concat(this.#parts);
    return Buffer.from(all.subarray(Math.max(0, all.length - this.#maxBytes)));
  }
}
