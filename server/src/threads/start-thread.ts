import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

const built = new Map<string, string>();

/**
 * Starts a worker thread that runs the given source file with at most `maxHeapMb` of heap. The built server has each
 * thread as a bundled file next to it; a server that runs from its sources bundles the file here.
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

/**
 * Bundles each file only once. Threads get plain JavaScript, as loading a TypeScript compiler takes a second in each.
 */
function build(source: URL): string {
  const code = built.get(source.href) ?? bundle(fileURLToPath(source));
  built.set(source.href, code);
  return code;
}

function bundle(file: string): string {
  // Required here because the built server doesn't contain esbuild and never gets to this line.
  const { buildSync } = createRequire(import.meta.url)('esbuild') as typeof import('esbuild');
  const options = { bundle: true, platform: 'node', format: 'cjs', target: 'node20', write: false } as const;
  return buildSync({ entryPoints: [file], logLevel: 'error', ...options }).outputFiles[0]?.text ?? '';
}

/** Whether a thread ended because it exceeded its heap limit. */
export function ranOutOfMemory(error: unknown): boolean {
  return (error as { code?: string }).code === 'ERR_WORKER_OUT_OF_MEMORY';
}
