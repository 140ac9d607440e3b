import { gzip, gzipSync } from 'node:zlib';

/** Below this the way to a worker thread and back costs more than compressing. */
const inlineBelowBytes = 4 * 1024;
/** zlib goes to its thread once per so many bytes of result. */
const resultChunkBytes = 64 * 1024;
const level = 1;

/** gzip, of small pieces at once and of large ones on zlib's threads. */
export function compress(raw: Buffer): Buffer | Promise<Buffer> {
  if (raw.length < inlineBelowBytes) return gzipSync(raw, { level });
  return new Promise((resolve, reject) => {
    gzip(raw, { level, chunkSize: resultChunkBytes }, (error, bytes) =>
      error === null ? resolve(bytes) : reject(error),
    );
  });
}
