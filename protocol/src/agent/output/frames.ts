// Output travels in binary frames, one chunk each. Layout, big endian:
//   u8 frame version (1) · u8 stream (1 stdout, 2 stderr) · u16 zero ·
//   u64 step · u32 epoch · u32 seq (from 1) · u32 raw length · u32 elapsed ms since the step began · bytes (gzip)

export const frameVersion = 1;
export const frameHeaderBytes = 28;
/** Highest sequence number that a chunk may have. */
export const maxSeq = 0x7fff_fffe;

export type OutputStreamName = 'stdout' | 'stderr';
const streamCodes = { stdout: 1, stderr: 2 } as const;

export interface OutputFrame {
  stream: OutputStreamName;
  step: number;
  epoch: number;
  /** Number of the chunk within its attempt, counting both streams together, from 1. */
  seq: number;
  /** Length after decompression, in bytes. */
  rawLength: number;
  /** Time from the start of the command to the chunk's first byte. */
  elapsedMs: number;
  /** gzip. Never changes once spooled: its SHA-256 is part of the attempt's digest chain. */
  bytes: Uint8Array;
}

/** Returns the number that stands for a stream in frames and in the digest chain. */
export function streamCode(stream: OutputStreamName): 1 | 2 {
  return streamCodes[stream];
}

/** Returns the stream with this number; `undefined` if there is none. */
export function streamOfCode(code: number): OutputStreamName | undefined {
  return code === 1 ? 'stdout' : code === 2 ? 'stderr' : undefined;
}

/** Encodes only the frame's header, so that a sender can cork header and chunk without copying the chunk. */
export function encodeFrameHeader(frame: Omit<OutputFrame, 'bytes'>): Uint8Array {
  const header = new Uint8Array(frameHeaderBytes);
  const view = new DataView(header.buffer);
  view.setUint8(0, frameVersion);
  view.setUint8(1, streamCodes[frame.stream]);
  view.setBigUint64(4, BigInt(frame.step));
  view.setUint32(12, frame.epoch);
  view.setUint32(16, frame.seq);
  view.setUint32(20, frame.rawLength);
  view.setUint32(24, Math.min(frame.elapsedMs, 0xffff_ffff));
  return header;
}

/** Encodes a whole frame, in a copy of the chunk. An elapsed time of more than 2³² − 1 ms is written as that. */
export function encodeFrame(frame: OutputFrame): Uint8Array {
  const whole = new Uint8Array(frameHeaderBytes + frame.bytes.length);
  whole.set(encodeFrameHeader(frame));
  whole.set(frame.bytes, frameHeaderBytes);
  return whole;
}

/**
 * Decodes a frame; returns `undefined` for anything else (the caller then closes the connection). The chunk is a view.
 */
export function decodeFrame(data: Uint8Array, maxRawBytes: number): OutputFrame | undefined {
  if (data.length <= frameHeaderBytes) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const stream = streamOfCode(view.getUint8(1));
  const step = view.getBigUint64(4);
  const epoch = view.getUint32(12);
  const seq = view.getUint32(16);
  const rawLength = view.getUint32(20);
  const wellFormed =
    view.getUint8(0) === frameVersion &&
    view.getUint16(2) === 0 &&
    step > 0n &&
    step <= BigInt(Number.MAX_SAFE_INTEGER) &&
    epoch > 0 &&
    seq > 0 &&
    seq <= maxSeq &&
    rawLength > 0 &&
    rawLength <= maxRawBytes;
  if (stream === undefined || !wellFormed) return undefined;
  return {
    stream,
    step: Number(step),
    epoch,
    seq,
    rawLength,
    elapsedMs: view.getUint32(24),
    bytes: data.subarray(frameHeaderBytes),
  };
}

/** Minimum size of a gzip member: header and trailer. */
const gzipFrameBytes = 18;

/**
 * Whether a chunk is plausible, as far as can be told without decompressing it: it is gzip, its trailer states the
 * frame's raw length, and it is hardly longer than that. So a reader that limits raw length also limits the bytes that
 * it reads.
 */
export function isAsLongAsStated({ bytes, rawLength }: Pick<OutputFrame, 'bytes' | 'rawLength'>): boolean {
  const { length } = bytes;
  if (length < gzipFrameBytes || bytes[0] !== 0x1f || bytes[1] !== 0x8b || bytes[2] !== 8) return false;
  const statedAtEnd = new DataView(bytes.buffer, bytes.byteOffset + length - 4, 4).getUint32(0, true);
  return statedAtEnd === rawLength && length <= maxStoredBytes(rawLength);
}

/** Most bytes that gzip needs for incompressible input of this length, including a position in its header. */
function maxStoredBytes(rawLength: number): number {
  return rawLength + Math.ceil(rawLength / 64) + 128;
}

/** Encodes what one chunk adds to its attempt's digest chain: d(n) = SHA-256(d(n-1) · this), d(0) = 32 zero bytes. */
export function chainLink(chunk: {
  seq: number;
  stream: OutputStreamName;
  rawLength: number;
  /** SHA-256 of the stored (compressed) bytes. */
  sha256: Uint8Array;
}): Uint8Array {
  const link = new Uint8Array(41);
  const view = new DataView(link.buffer);
  view.setUint32(0, chunk.seq);
  view.setUint8(4, streamCodes[chunk.stream]);
  view.setUint32(5, chunk.rawLength);
  link.set(chunk.sha256, 9);
  return link;
}
