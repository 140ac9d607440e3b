import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

const built = new Map<string, string>();

/**
 * A thread that runs a file of ours, with so much memory at most. The built server has each in a file of its own beside
 * it; a server that runs from its sources builds it here.
 */
export function startThread(source: URL, workerData: unknown, maxHeapMb: number): Worker {
  const isSource = source.pathname.endsWith('.ts');
  return new Worker(isSource ? build(source) : source, {
    eval: isSource,
    workerData,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: maxHeapMb },
  });
}

/** Once: a thread has no TypeScript of its own, and to bring it a compiler would take a second of each. */
function build(source: URL): string {
  const code = built.get(source.href) ?? bundle(fileURLToPath(source));
  built.set(source.href, code);
  return code;
}

function bundle(file: string): string {
  // The built server has no need of it.
  const { buildSync } = createRequire(import.meta.url)('esbuild') as typeof import('esbuild');
  const options = { bundle: true, platform: 'node', format: 'cjs', target: 'node20', write: false } as const;
  return buildSync({ entryPoints: [file], logLevel: 'error', ...options }).outputFiles[0]?.text ?? '';
}

/** Whether a thread ended because it took too much memory. */
export function ranOutOfMemory(error: unknown): boolean {
  return (error as { code?: string }).code === 'ERR_WORKER_OUT_OF_MEMORY';
}
