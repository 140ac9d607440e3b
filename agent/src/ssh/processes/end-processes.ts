// Ends processes on a target: TERM, grace, KILL, and then looks whether anything of them is still there.

import type { StopTarget } from '../run-script.ts';
import { type RemoteProcess, signalProcesses } from './remote-processes.ts';

export interface ProcessFamily {
  target: StopTarget;
  /** Those that live now, with what was seen before of them. */
  list(seen: readonly RemoteProcess[]): Promise<RemoteProcess[]>;
  /** Whose process group is signalled too, so that a process forked meanwhile is reached. */
  leader(): number | undefined;
  /** Shell text that is run there just before each signal. */
  note?: string | undefined;
  /** Resolves when it is worth to look again at once; undefined for never. */
  news?(): Promise<unknown> | undefined;
}

export interface EndedProcesses {
  /** Whether any was there at all. */
  found: boolean;
  survivors: RemoteProcess[];
}

/**
 * Rejects where the target can't be asked.
 *
 * @param times `waitMs` is for the processes to end by themselves, before TERM; in ms, as the others.
 */
export async function endProcesses(
  family: ProcessFamily,
  { graceMs, killMs, waitMs = 0 }: { graceMs: number; killMs: number; waitMs?: number },
): Promise<EndedProcesses> {
  let living = await family.list([]);
  const found = living.length > 0;
  if (found && waitMs > 0) living = await watch(family, waitMs, living, () => Promise.resolve());
  if (living.length === 0) return { found, survivors: [] };
  if (graceMs > 0) {
    await send(family, 'TERM', living);
    living = await watch(family, graceMs, living, () => Promise.resolve());
  }
  if (living.length === 0) return { found, survivors: [] };
  await send(family, 'KILL', living);
  const survivors = await watch(family, killMs, living, (left) => send(family, 'KILL', left));
  return { found, survivors };
}

/** Looks again until nothing is left or the time is up. */
async function watch(
  family: ProcessFamily,
  ms: number,
  seen: readonly RemoteProcess[],
  each: (living: RemoteProcess[]) => Promise<void>,
): Promise<RemoteProcess[]> {
  const deadline = performance.now() + ms;
  let last = seen;
  for (let pauseMs = 20; ; pauseMs = Math.min(pauseMs * 2, 1000)) {
    const left = deadline - performance.now();
    await within(Math.max(0, Math.min(pauseMs, left)), family.news?.());
    const living = await family.list(last);
    last = living;
    if (living.length === 0 || performance.now() >= deadline) return living;
    await each(living);
  }
}

async function send(family: ProcessFamily, signal: 'TERM' | 'KILL', living: RemoteProcess[]): Promise<void> {
  const leader = family.leader();
  const group = living.some(({ groupId }) => groupId === leader) ? leader : undefined;
  // What is signalled with its group is not signalled again: a handler of TERM would run twice.
  const others = living.filter(({ groupId }) => group === undefined || groupId !== group);
  await signalProcesses(
    family.target,
    signal,
    others.map(({ pid }) => pid),
    { group, note: family.note },
  );
}

/** The promise's value, or undefined when the time is up first. Without a promise it only waits. */
export function within<T>(ms: number, promise: Promise<T> | undefined): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), ms);
    promise?.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
