// Splits a WebSocket connection into whole frames (RFC 6455 section 5.2), so that a relay can hold one back, send it
// twice, or let another one pass it.

export interface RelayedFrame {
  /** As transmitted, including the mask. */
  bytes: Buffer;
  /** `type` for one of our control messages, `output` for a binary frame, `protocol` for WebSocket's own frames. */
  type: string;
}

/** Enough of a control message to read its `type`, which comes first. */
const peekedBytes = 96;

export class FrameSplitter {
  #rest: Buffer = Buffer.alloc(0);
  #is: 'http' | 'frames' | 'other' = 'http';

  /** The HTTP head before the frames is returned as type `protocol`; so is anything that isn't a WebSocket. */
  push(bytes: Buffer): RelayedFrame[] {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const frames: RelayedFrame[] = [];
    if (this.#is === 'http') {
      const end = this.#rest.indexOf('\r\n\r\n');
      if (end === -1) return frames;
      const head = this.#take(end + 4);
      this.#is = /\r\nupgrade: *websocket\r\n/i.test(head.toString('latin1')) ? 'frames' : 'other';
      frames.push({ bytes: head, type: 'protocol' });
    }
    if (this.#is === 'other') {
      if (this.#rest.length > 0) frames.push({ bytes: this.#take(this.#rest.length), type: 'protocol' });
      return frames;
    }
    for (
      let length = frameLength(this.#rest);
      length <= this.#rest.length;
      length = frameLength(this.#rest)
    ) {
      const frame = this.#take(length);
      frames.push({ bytes: frame, type: frameType(frame) });
    }
    return frames;
  }

  #take(length: number): Buffer {
    const taken = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return taken;
  }
}

/** Infinity if even the length has not arrived yet. */
function frameLength(bytes: Buffer): number {
  const head = headOf(bytes);
  return head === undefined ? Number.POSITIVE_INFINITY : head.payloadAt + head.payloadBytes;
}

function headOf(
  bytes: Buffer,
): { payloadAt: number; payloadBytes: number; maskAt: number | undefined } | undefined {
  const second = bytes[1];
  if (second === undefined) return undefined;
  const short = second & 0x7f;
  const extra = short === 127 ? 8 : short === 126 ? 2 : 0;
  if (bytes.length < 2 + extra) return undefined;
  const payloadBytes =
    extra === 0 ? short : extra === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  const isMasked = (second & 0x80) !== 0;
  return {
    payloadAt: 2 + extra + (isMasked ? 4 : 0),
    payloadBytes,
    maskAt: isMasked ? 2 + extra : undefined,
  };
}

function frameType(frame: Buffer): string {
  const opcode = (frame[0] ?? 0) & 0x0f;
  if (opcode === 2) return 'output';
  const head = headOf(frame);
  if (opcode !== 1 || head === undefined) return 'protocol';
  const text = Buffer.from(frame.subarray(head.payloadAt, head.payloadAt + peekedBytes));
  if (head.maskAt !== undefined) {
    for (let at = 0; at < text.length; at += 1) {
      text[at] = (text[at] ?? 0) ^ (frame[head.maskAt + (at % 4)] ?? 0);
    }
  }
  return /"type":"(\w+)"/.exec(text.toString('latin1'))?.[1] ?? 'protocol';
}
