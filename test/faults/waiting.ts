// Waiting in the harness, and ending or freezing what it waits for.
import { readFileSync } from 'node:fs';

const waitMs = 60_000;

export async function until(
  what: string,
  holds: () => Promise<boolean>,
  timeoutMs = waitMs,
  everyMs = 100,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    const isThere = await holds().catch((error: unknown) => {
      last = error;
      return false;
    });
    if (isThere) return;
    if (performance.now() > deadline)
      throw new Error(`not within ${timeoutMs / 1000} s: ${what}`, { cause: last });
    await pause(everyMs);
  }
}

/** Retries for a while if it fails: a connection of the harness may have been broken by its own faults. */
export async function patiently<T>(work: () => Promise<T>, tries = 20): Promise<T> {
  for (let left = tries; ; left -= 1) {
    try {
      return await work();
    } catch (error) {
      if (left <= 1) throw error;
      await pause(250);
    }
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

export function signalPid(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended in the meantime.
  }
}

/** Returns the kernel's letter for the state of a process; undefined if there is no such process. */
export function stateOf(pid: number): string | undefined {
  return statOf(pid)?.[0];
}

/** Returns undefined if there is no such process. */
export function parentOf(pid: number): number | undefined {
  const parent = statOf(pid)?.[1];
  return parent === undefined ? undefined : Number(parent);
}

/** Returns what the kernel says of a process, from its state on (proc_pid_stat(5)). */
function statOf(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name before it may contain spaces and parentheses.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

export function isFrozen(pid: number): boolean {
  return stateOf(pid) === 'T';
}

/** Whether a process is frozen or has ended: a frozen parent collects none of its children. */
export function standsStill(pid: number): boolean {
  const state = stateOf(pid);
  return state === undefined || 'TZX'.includes(state);
}

export function fail(why: string): never {
  throw new Error(why);
}
