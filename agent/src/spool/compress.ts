// Compresses output chunks with gzip. Streams are kept and reset: each takes a quarter of a megabyte, and creating one
// for every chunk of a fast producer would keep the garbage collector busier than the compression itself.
import { promisify } from 'node:util';
import { constants, createGzip, type Gzip, gunzip, gzipSync, type ZlibReset } from 'node:zlib';

/** Node's types omit that a Gzip can be reset, like the other zlib streams. */
type ResettableGzip = Gzip & ZlibReset;

/** Below this size, handing over to a thread costs more than compressing. */
const inlineBelowBytes = 4 * 1024;
/** zlib goes to its thread once per this many bytes of output; several results share such a buffer. */
const resultChunkBytes = 256 * 1024;
/** One fast producer has up to eight chunks in progress (`maxGatheredBytes`). */
const maxIdle = 8;
/** Level 0 only wraps data that is already dense: zlib takes longest to find that nothing can be compressed. */
type Level = 0 | 1;
/** One less than the default. For log lines the results are as small, and ready 5 % sooner. */
const windowBits = 14;
const idle: Record<Level, ResettableGzip[]> = { 0: [], 1: [] };
const sampleBytes = 4 * 1024;
/** A sample of random bytes has 7.95 bits per byte, base64 six, text five. */
const denseBitsPerByte = 7.8;

/** Compresses with gzip: small pieces at once, large ones on zlib's threads. */
export function compress(raw: Buffer): Buffer | Promise<Buffer> {
  if (raw.length < inlineBelowBytes) return gzipSync(raw, { level: 1 });
  const level = isDense(raw) ? 0 : 1;
  return compressOnThread(level, idle[level].pop() ?? newGzip(level), raw);
}

/** Whether the data seems compressed, encrypted or random, by the byte frequencies at its beginning and its end. */
function isDense(raw: Buffer): boolean {
  return (
    entropyOf(raw.subarray(0, sampleBytes)) > denseBitsPerByte &&
    entropyOf(raw.subarray(-sampleBytes)) > denseBitsPerByte
  );
}

/** Bits per byte, each byte taken by itself. */
function entropyOf(bytes: Buffer): number {
  const counts = new Uint16Array(256);
  for (let at = 0; at < bytes.length; at += 1) (counts[bytes[at] as number] as number) += 1;
  let bits = 0;
  for (const count of counts) if (count > 0) bits -= count * Math.log2(count / bytes.length);
  return bits / bytes.length;
}

const inflate = promisify(gunzip);

/** Returns what `compress` was given. */
export function decompress(stored: Buffer): Promise<Buffer> {
  return inflate(stored);
}

function newGzip(level: Level): ResettableGzip {
  return createGzip({
    level,
    windowBits,
    chunkSize: resultChunkBytes,
    flush: constants.Z_FINISH,
  }) as ResettableGzip;
}

function compressOnThread(level: Level, gzip: ResettableGzip, raw: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    const onData = (part: Buffer) => parts.push(part);
    const onError = (error: Error) => {
      gzip.off('data', onData);
      gzip.destroy();
      reject(error);
    };
    gzip.on('data', onData);
    gzip.once('error', onError);
    gzip.write(raw, (failed) => {
      if (failed) return; // the error event reports it
      gzip.off('data', onData);
      gzip.off('error', onError);
      gzip.reset();
      if (idle[level].length < maxIdle) idle[level].push(gzip);
      else gzip.destroy();
      resolve(parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts));
    });
  });
}
