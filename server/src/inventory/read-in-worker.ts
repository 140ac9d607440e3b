import { once } from 'node:events';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { InventoryFile, InventoryFormat, InventoryOptions } from '@opsconductor/protocol';
import { AppError } from '../errors.ts';
import type { ReadInventory } from './parse-inventory.ts';

const maxAtOnce = 2;
const readingBounds = { timeoutMs: 60_000, maxHeapMb: 1_024 };
// A thread has no TypeScript of its own, whatever the server was started with. Both by their paths: what the server was
// started from need not be where its packages are.
const typescript = pathToFileURL(createRequire(import.meta.url).resolve('tsx/esm/api')).href;
const start = `
  import(${JSON.stringify(typescript)}).then(({ register }) => {
    register();
    return import(${JSON.stringify(new URL('./read-worker.ts', import.meta.url).href)});
  })`;
let reading = 0;

/**
 * `readInventory` in a thread of its own, bounded in time and memory.
 *
 * @throws {AppError} `rate_limited` while two are being read; `too_large` for what can't be read within the bounds.
 */
export async function readInWorker(
  format: Exclude<InventoryFormat, 'api'>,
  files: readonly InventoryFile[],
  options: InventoryOptions,
  { timeoutMs, maxHeapMb } = readingBounds,
): Promise<ReadInventory> {
  if (reading >= maxAtOnce) {
    throw new AppError('rate_limited', 'Other inventories are being read; try again in some seconds.', {
      retryAfterS: 5,
    });
  }
  reading += 1;
  const worker = new Worker(start, {
    eval: true,
    workerData: { format, files, options },
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: maxHeapMb },
  });
  try {
    const [read] = await once(worker, 'message', { signal: AbortSignal.timeout(timeoutMs) });
    return read as ReadInventory;
  } catch (error) {
    if (!isOutOfBounds(error)) throw error;
    const message = `The inventory takes more than ${timeoutMs / 1000} s or ${maxHeapMb} MB to read; divide it.`;
    throw new AppError('too_large', message, { cause: error });
  } finally {
    reading -= 1;
    await worker.terminate();
  }
}

function isOutOfBounds(error: unknown): boolean {
  const { name, code } = error as { name?: string; code?: string };
  return name === 'AbortError' || code === 'ERR_WORKER_OUT_OF_MEMORY';
}
