import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';

// A thread has no TypeScript of its own, whatever the server was started with. Both by their paths: what the server was
// started from need not be where its packages are.
const typescript = pathToFileURL(createRequire(import.meta.url).resolve('tsx/esm/api')).href;

/** A thread that runs a source file of ours, with so much memory at most. */
export function startThread(source: URL, workerData: unknown, maxHeapMb: number): Worker {
  const start = `
    import(${JSON.stringify(typescript)}).then(({ register }) => {
      register();
      return import(${JSON.stringify(source.href)});
    })`;
  return new Worker(start, {
    eval: true,
    workerData,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: maxHeapMb },
  });
}

/** Whether a thread ended because it took too much memory. */
export function ranOutOfMemory(error: unknown): boolean {
  return (error as { code?: string }).code === 'ERR_WORKER_OUT_OF_MEMORY';
}
