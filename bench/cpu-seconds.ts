// CPU time of processes and everything they started. With few shared cores, this says more than wall time.
import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ, which is fixed for /proc on Linux. */
const ticksPerSecond = 100;

interface ProcessTimes {
  parent: number;
  seconds: number;
}

/**
 * Returns seconds used so far by each named process and its descendants, user and system. Nested named ones are
 * separate.
 */
export function cpuSeconds(roots: Readonly<Record<string, number>>): Record<string, number> {
  const processes = readProcesses();
  const nameOf = new Map(Object.entries(roots).map(([name, pid]) => [pid, name]));
  const sums = Object.fromEntries(Object.keys(roots).map((name) => [name, 0]));
  for (const [pid, { seconds }] of processes) {
    let at = pid;
    while (at > 1 && !nameOf.has(at)) at = processes.get(at)?.parent ?? 0;
    const name = nameOf.get(at);
    if (name !== undefined) sums[name] = (sums[name] ?? 0) + seconds;
  }
  return sums;
}

/** Returns the first child whose command line begins like this. */
export function childOf(parent: number, command: string): number {
  for (const [pid, process] of readProcesses()) {
    if (process.parent === parent && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(command))
      return pid;
  }
  throw new Error(`process ${parent} has no child ${command}`);
}

function readProcesses(): Map<number, ProcessTimes> {
  const found = new Map<number, ProcessTimes>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const text = readFileSync(`/proc/${name}/stat`, 'utf8');
      // After the name, which may contain anything: state, parent, and from the 12th field on the times.
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      // Its own time and that of children that have ended.
      const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
      found.set(Number(name), { parent: Number(fields[1]), seconds: ticks / ticksPerSecond });
    } catch {
      // It has ended.
    }
  }
  return found;
}
