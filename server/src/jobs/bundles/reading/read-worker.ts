// The thread in which job files are read and checked: they may be large or hostile, and agents must not wait for them.
// It continues only when asked to, so that results don't pile up before they are stored.
import { parentPort, workerData } from 'node:worker_threads';
import type { ImportFormat } from '@opsconductor/protocol';
import { readBatches } from './read-batches.ts';

const { bytes, format } = workerData as { bytes: Uint8Array; format: ImportFormat };
const batches = readBatches(bytes, format, { maxJobs: 25, maxMs: 500 });

function next(): void {
  const { value, done } = batches.next();
  if (done !== true) parentPort?.postMessage(value);
}
parentPort?.on('message', next);
next();
