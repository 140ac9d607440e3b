// Finds the hosts that hashed names of a known_hosts file mean. Each must be tried on each host, up to millions of
// times. That is done in a separate thread, so that agents and people are served meanwhile, and for one file at a time.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { AppError } from '../errors.ts';
import type { KnownHostsLine } from './parse-known-hosts.ts';

const bounds = { timeoutMs: 60_000, maxHeapMb: 256 };
// Plain JavaScript, because a thread made from text does not understand TypeScript.
const source = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { createHmac } = require('node:crypto');
  const { hashed, names } = workerData;
  parentPort.postMessage(hashed.map(({ salt, digest }) =>
    names.filter((name) => createHmac('sha1', salt).update(name).digest('hex') === digest)));
`;
let isMatching = false;

/** Hosts by line number; `names` are the names that were tried. */
export interface HashedMatches {
  names: ReadonlySet<string>;
  byLine: ReadonlyMap<number, readonly string[]>;
}

/** @throws {AppError} `rate_limited` while another file is being matched; `too_large` if it takes too long. */
export async function matchHashedNames(
  lines: readonly KnownHostsLine[],
  names: readonly string[],
): Promise<HashedMatches> {
  const hashed = lines.flatMap(({ line, hashed }) =>
    hashed === undefined ? [] : [{ line, salt: hashed.salt, digest: hashed.digest.toString('hex') }],
  );
  const tried = new Set(names);
  if (hashed.length === 0 || tried.size === 0) return { names: tried, byLine: new Map() };
  if (isMatching) {
    throw new AppError(
      'rate_limited',
      'Another known_hosts file is being matched; try again in a few seconds.',
      {
        retryAfterS: 5,
      },
    );
  }
  isMatching = true;
  const worker = new Worker(source, {
    eval: true,
    workerData: { hashed, names: [...tried] },
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: bounds.maxHeapMb },
  });
  try {
    const [found] = await once(worker, 'message', { signal: AbortSignal.timeout(bounds.timeoutMs) });
    return {
      names: tried,
      byLine: new Map(hashed.map(({ line }, at) => [line, (found as string[][])[at] ?? []])),
    };
  } catch (error) {
    if ((error as Error).name !== 'AbortError') throw error;
    const message = `Its hashed names take more than ${bounds.timeoutMs / 1000} s to match; import it in parts.`;
    throw new AppError('too_large', message, { cause: error });
  } finally {
    isMatching = false;
    await worker.terminate();
  }
}
