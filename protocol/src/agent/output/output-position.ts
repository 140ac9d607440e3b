// The position in a command's output at which a chunk ends. It is stored inside the chunk, as an extra field of its
// gzip header (RFC 1952 section 2.3.1.1), which readers of the output ignore. So whoever has the last chunk, an agent's
// spool or the server, knows where to continue reading a command's kept output, without losing or repeating anything.

/**
 * What has gone into chunks, for each stream, up to and including one chunk. Counts the command's own, unmasked bytes.
 */
export interface OutputPosition {
  stdout: StreamPosition;
  stderr: StreamPosition;
  /** The output reached its limit with this chunk: what follows is dropped. */
  cut: boolean;
}

export interface StreamPosition {
  /** Continue reading at this byte. */
  offset: number;
  /** Number of bytes from there on that are the rest of a secret whose mask has already been written. */
  masked: number;
  /** Number of bytes of what follows, after masking, that are already in chunks. */
  skip: number;
}

const gzipHeaderBytes = 10;
const extraFlag = 4;
const identifier = 0x4f43; // OC
const numberBytes = 6;
const dataBytes = 1 + 6 * numberBytes;

export const startOfOutput: OutputPosition = {
  stdout: { offset: 0, masked: 0, skip: 0 },
  stderr: { offset: 0, masked: 0, skip: 0 },
  cut: false,
};

/** Returns the gzip member with the position in its header. */
export function withPosition(gzip: Uint8Array, position: OutputPosition): Uint8Array {
  const extra = new Uint8Array(2 + 4 + dataBytes);
  const view = new DataView(extra.buffer);
  view.setUint16(0, 4 + dataBytes, true);
  view.setUint16(2, identifier);
  view.setUint16(4, dataBytes, true);
  view.setUint8(6, position.cut ? 1 : 0);
  numbersOf(position).forEach((value, index) => {
    const at = 7 + index * numberBytes;
    view.setUint16(at, Math.floor(value / 2 ** 32));
    view.setUint32(at + 2, value % 2 ** 32);
  });
  const whole = new Uint8Array(gzip.length + extra.length);
  whole.set(gzip.subarray(0, gzipHeaderBytes));
  whole[3] = (whole[3] ?? 0) | extraFlag;
  whole.set(extra, gzipHeaderBytes);
  whole.set(gzip.subarray(gzipHeaderBytes), gzipHeaderBytes + extra.length);
  return whole;
}

/** Returns the position in a gzip member's header; `undefined` if there is none. */
export function positionOf(gzip: Uint8Array): OutputPosition | undefined {
  if (gzip.length < gzipHeaderBytes + 6 + dataBytes || ((gzip[3] ?? 0) & extraFlag) === 0) return undefined;
  const view = new DataView(gzip.buffer, gzip.byteOffset + gzipHeaderBytes);
  if (view.getUint16(2) !== identifier || view.getUint16(4, true) !== dataBytes) return undefined;
  const number = (index: number) => {
    const at = 7 + index * numberBytes;
    return view.getUint16(at) * 2 ** 32 + view.getUint32(at + 2);
  };
  const stream = (first: number): StreamPosition => ({
    offset: number(first),
    masked: number(first + 1),
    skip: number(first + 2),
  });
  return { stdout: stream(0), stderr: stream(3), cut: view.getUint8(6) === 1 };
}

function numbersOf({ stdout, stderr }: OutputPosition): number[] {
  return [stdout, stderr].flatMap(({ offset, masked, skip }) => [offset, masked, skip]);
}
