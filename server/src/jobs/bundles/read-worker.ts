// The thread that files of jobs are read and checked in: they may be large or hostile, and agents must not wait for them.
// It goes on when it is asked to, so that what it has read doesn't pile up where it is stored.
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
