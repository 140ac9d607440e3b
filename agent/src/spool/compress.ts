// gzip of output chunks. Its streams are kept and reset: each has a quarter of a megabyte of its own, and making one
// for every chunk of a fast producer keeps the garbage collector busier than the compression itself.
import { promisify } from 'node:util';
import { constants, createGzip, type Gzip, gunzip, gzipSync, type ZlibReset } from 'node:zlib';

/** Node's types leave out that a Gzip can be reset like its kin. */
type ResettableGzip = Gzip & ZlibReset;

/** Below this the way to a thread and back costs more than compressing. */
const inlineBelowBytes = 4 * 1024;
/** zlib goes to its thread once per so many bytes of result, which several results share. */
const resultChunkBytes = 256 * 1024;
/** One fast producer has eight chunks under way (`maxGatheredBytes`). */
const maxIdle = 8;
/** 0 only wraps what is as dense already: to find that nothing can be left out takes zlib longest of all. */
type Level = 0 | 1;
/** Half of the usual: of log lines results are as small, and come 5 % sooner. */
const windowBits = 14;
const idle: Record<Level, ResettableGzip[]> = { 0: [], 1: [] };
const sampleBytes = 4 * 1024;
/** Of random bytes such a sample has 7.95; of base64 six, of text five. */
const denseBitsPerByte = 7.8;

/** gzip, of small pieces at once and of large ones on zlib's threads. */
export function compress(raw: Buffer): Buffer | Promise<Buffer> {
  if (raw.length < inlineBelowBytes) return gzipSync(raw, { level: 1 });
  const level = isDense(raw) ? 0 : 1;
  return compressOnThread(level, idle[level].pop() ?? newGzip(level), raw);
}

/** Whether it is compressed, encrypted or random, by how often each byte comes at its beginning and at its end. */
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

/** What `compress` was given. */
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
      if (failed) return; // told by the event
      gzip.off('data', onData);
      gzip.off('error', onError);
      gzip.reset();
      if (idle[level].length < maxIdle) idle[level].push(gzip);
      else gzip.destroy();
      resolve(parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts));
    });
  });
}
