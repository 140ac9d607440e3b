import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { type ImportFormat, timeLimit } from '@opsconductor/protocol';
import { AppError } from '../../../errors.ts';
import { ranOutOfMemory, startThread } from '../../../threads/start-thread.ts';
import { type ReadBatch, readBatches } from './read-batches.ts';

const readingBounds = { batchTimeoutMs: 120_000, maxHeapMb: 1_024 };
/** Up to this size, reading takes less time than starting a thread. Converting a job takes several checks of it. */
const maxBytesHere = { bundle: 128 * 1024, rundeck: 16 * 1024 };

/** Reads a file, a few jobs at a time as they are taken: a small one in this thread, others in their own. */
export function readFile(
  bytes: Uint8Array,
  format: ImportFormat,
  signal: AbortSignal,
): AsyncGenerator<ReadBatch> {
  return bytes.length > maxBytesHere[format]
    ? readInThread(bytes, format, signal)
    : readHere(bytes, format, signal);
}

async function* readHere(
  bytes: Uint8Array,
  format: ImportFormat,
  signal: AbortSignal,
): AsyncGenerator<ReadBatch> {
  for (const batch of readBatches(bytes, format, { maxJobs: 1, maxMs: 0 })) {
    yield batch;
    await setImmediate(undefined, { signal });
  }
}

/** Reads a file in its own thread, with limits on time and memory. */
async function* readInThread(
  bytes: Uint8Array,
  format: ImportFormat,
  signal: AbortSignal,
  { batchTimeoutMs, maxHeapMb } = readingBounds,
): AsyncGenerator<ReadBatch> {
  const worker = startThread(new URL('./read-worker.ts', import.meta.url), { bytes, format }, maxHeapMb);
  // Errors reach the waits below; in between, an unheard error event would end the process.
  worker.on('error', () => undefined);
  const nextBatch = async (): Promise<ReadBatch> => {
    const timeout = AbortSignal.any([signal, timeLimit(batchTimeoutMs)]);
    const [batch] = (await once(worker, 'message', { signal: timeout })) as [ReadBatch];
    return batch;
  };
  let waited = nextBatch();
  try {
    for (;;) {
      const batch = await waited;
      if (!batch.isLast) {
        // The next batch is read while this one is processed, but no more than one ahead.
        waited = nextBatch();
        waited.catch(() => undefined);
        worker.postMessage('next');
      }
      yield batch;
      if (batch.isLast) return;
    }
  } catch (error) {
    if (signal.aborted || !isOutOfBounds(error)) throw error;
    const message = `The file takes more than ${maxHeapMb} MB to read, or a job of it more than ${batchTimeoutMs / 1000} s; divide it.`;
    throw new AppError('too_large', message, { cause: error });
  } finally {
    await worker.terminate();
  }
}

function isOutOfBounds(error: unknown): boolean {
  return (error as { name?: string }).name === 'AbortError' || ranOutOfMemory(error);
}
