import { once } from 'node:events';
import type { InventoryFile, InventoryFormat, InventoryOptions } from '@opsconductor/protocol';
import { AppError } from '../errors.ts';
import { ranOutOfMemory, startThread } from '../threads/start-thread.ts';
import type { ReadInventory } from './read-inventory.ts';

const maxAtOnce = 2;
const readingBounds = { timeoutMs: 60_000, maxHeapMb: 1_024 };
let reading = 0;

/**
 * Runs `readInventory` in its own thread, with limits on time and memory.
 * @throws {AppError} `rate_limited` while two are being read; `too_large` for what can't be read within the limits.
 */
export async function readInWorker(
  format: Exclude<InventoryFormat, 'api'>,
  files: readonly InventoryFile[],
  options: InventoryOptions,
  { timeoutMs, maxHeapMb } = readingBounds,
): Promise<ReadInventory> {
  if (reading >= maxAtOnce) {
    throw new AppError('rate_limited', 'Other inventories are being read; try again in a few seconds.', {
      retryAfterS: 5,
    });
  }
  reading += 1;
  const source = new URL('./read-worker.ts', import.meta.url);
  const worker = startThread(source, { format, files, options }, maxHeapMb);
  try {
    const [read] = await once(worker, 'message', { signal: AbortSignal.timeout(timeoutMs) });
    return read as ReadInventory;
  } catch (error) {
    if (!isOutOfBounds(error)) throw error;
    const message = `The inventory takes more than ${timeoutMs / 1000} s or ${maxHeapMb} MB to read; split it.`;
    throw new AppError('too_large', message, { cause: error });
  } finally {
    reading -= 1;
    await worker.terminate();
  }
}

function isOutOfBounds(error: unknown): boolean {
  return (error as { name?: string }).name === 'AbortError' || ranOutOfMemory(error);
}
