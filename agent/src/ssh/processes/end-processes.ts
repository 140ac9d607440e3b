// Ends processes on a target (TERM, grace period, KILL) and then checks whether any of them is left.

import { within } from '../../timing/within.ts';
import type { ScriptTarget } from '../run-script.ts';
import { type RemoteProcess, signalProcesses } from './remote-processes.ts';

export interface ProcessFamily {
  target: ScriptTarget;
  /** Lists the processes that are alive now; `seen` are those found the last time. */
  list(seen: readonly RemoteProcess[]): Promise<RemoteProcess[]>;
  /** The pid of the family's first process, whose group is signaled even if that process has ended. */
  leader(): number | undefined;
  /** Shell text that is run on the target just before each signal. */
  note?: string | undefined;
  /** Resolves when it is worth looking again at once; undefined if that never happens. */
  news?(): Promise<unknown> | undefined;
}

export interface EndedProcesses {
  /** Whether there was any process at all. */
  found: boolean;
  survivors: RemoteProcess[];
}

/**
 * Ends the processes of a family and returns what survived KILL. Rejects if the target can't be asked.
 *
 * @param times in ms: `waitMs` for the processes to end by themselves before TERM, `graceMs` between TERM and KILL,
 * `killMs` between the first KILL and giving up
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

/** Lists the family repeatedly until nothing is left or the time is up; returns what is left. */
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

/**
 * Sends a signal to the groups that processes of the family began, and to every other process by itself. A group also
 * has what was forked since the list was made. Signaled by itself, its process would end and leave that child behind,
 * which nothing identifies anymore if it has no marker.
 */
async function send(family: ProcessFamily, signal: 'TERM' | 'KILL', living: RemoteProcess[]): Promise<void> {
  const first = family.leader();
  const begun = new Set(living.filter(({ pid, groupId }) => pid === groupId).map(({ pid }) => pid));
  const groups = new Set(living.map(({ groupId }) => groupId).filter((id) => id === first || begun.has(id)));
  // Processes signaled with their group are not signaled again: a handler for TERM would run twice.
  const others = living.filter(({ groupId }) => !groups.has(groupId));
  await signalProcesses(
    family.target,
    signal,
    others.map(({ pid }) => pid),
    { groups: [...groups], note: family.note },
  );
}
