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
const level = 1;
/** Half of the usual: of log lines results are as small, and come 5 % sooner. */
const windowBits = 14;
const idle: ResettableGzip[] = [];

/** gzip, of small pieces at once and of large ones on zlib's threads. */
export function compress(raw: Buffer): Buffer | Promise<Buffer> {
  if (raw.length < inlineBelowBytes) return gzipSync(raw, { level });
  return compressOnThread(idle.pop() ?? newGzip(), raw);
}

const inflate = promisify(gunzip);

/** What `compress` was given. */
export function decompress(stored: Buffer): Promise<Buffer> {
  return inflate(stored);
}

function newGzip(): ResettableGzip {
  return createGzip({
    level,
    windowBits,
    chunkSize: resultChunkBytes,
    flush: constants.Z_FINISH,
  }) as ResettableGzip;
}

function compressOnThread(gzip: ResettableGzip, raw: Buffer): Promise<Buffer> {
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
      if (idle.length < maxIdle) idle.push(gzip);
      else gzip.destroy();
      resolve(parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts));
    });
  });
}
