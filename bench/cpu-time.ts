// CPU time of process trees, as the kernel counts it (proc(5)).
import { readdirSync, readFileSync } from 'node:fs';

/** Ticks per second in /proc; 100 on every architecture since Linux 2.6. */
const ticksPerS = 100;

/** Returns seconds of user and system time of these processes, their descendants, and their ended children. */
export function cpuSecondsOf(roots: readonly number[]): number {
  const parents = new Map<number, number>();
  const seconds = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const fields = statOf(Number(name));
    if (fields === undefined) continue;
    parents.set(Number(name), Number(fields[1]));
    seconds.set(
      Number(name),
      fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / ticksPerS,
    );
  }
  let sum = 0;
  for (const [pid, own] of seconds) if (isBelow(pid, roots, parents)) sum += own;
  return sum;
}

/** Returns the fields from the state on; the name before it may contain spaces and parentheses. */
function statOf(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    // It has ended since the folder was read.
    return undefined;
  }
}

function isBelow(pid: number, roots: readonly number[], parents: ReadonlyMap<number, number>): boolean {
  for (let at: number | undefined = pid; at !== undefined && at > 0; at = parents.get(at)) {
    if (roots.includes(at)) return true;
  }
  return false;
}
