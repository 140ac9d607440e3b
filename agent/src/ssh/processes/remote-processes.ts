// The processes of an attempt on its target: found by session, process group, descent and marker.
import type { StopTarget } from '../run-script.ts';
import { runScript } from '../run-script.ts';

export interface RemoteProcess {
  pid: number;
  parentPid: number;
  groupId: number;
  /** 0 where the target can't tell. */
  sessionId: number;
  /** Name of the program, without its arguments: they may hold secrets. */
  command: string;
}

export interface ProcessTable {
  processes: RemoteProcess[];
  /** Pids whose environment holds the marker; only Linux shows environments. */
  marked: Set<number>;
}

/** Reads the target's process table. Rejects where the target can't be asked. */
export async function listProcesses(
  target: StopTarget,
  marker: string,
  variable: 'OPSCONDUCTOR_ATTEMPT' | 'OPSCONDUCTOR_SUPERVISOR' = 'OPSCONDUCTOR_ATTEMPT',
): Promise<ProcessTable> {
  return parseProcessTable(await runScript(target, listScript(`${variable}=${marker}`)));
}

/** Sends a signal to processes, and to the process group of `group` where that is given, after it has run `note` there. */
export async function signalProcesses(
  target: StopTarget,
  signal: 'TERM' | 'KILL',
  pids: readonly number[],
  { group: leader, note }: { group?: number | undefined; note?: string | undefined } = {},
): Promise<void> {
  // 0, 1 and their negatives would reach every process there is.
  const safe = pids.filter((pid) => Number.isInteger(pid) && pid > 1);
  const group = leader !== undefined && leader > 1 ? [`-${leader}`] : [];
  // A stopped process hears of TERM only when it goes on.
  const signals = signal === 'TERM' ? ['TERM', 'CONT'] : ['KILL'];
  const each = signals.flatMap((name) =>
    [...group, ...safe].map((pid) => `kill -s ${name} -- ${pid} 2>/dev/null`),
  );
  await runScript(target, [...(note === undefined ? [] : [note]), ...each, 'echo done', ''].join('\n'));
}

/**
 * The living processes of an attempt whose first shell had the pid `leader`. `leaderIsOurs` says whether that pid
 * can't have been given to another process since. What was `seen` to be of the attempt a moment ago still is: when its
 * parent has ended, nothing else may tell.
 */
export function attemptProcesses(
  table: ProcessTable,
  leader: number | undefined,
  leaderIsOurs: boolean,
  seen: readonly RemoteProcess[] = [],
): RemoteProcess[] {
  const first = table.processes.find(({ pid }) => pid === leader);
  const trusted = leader !== undefined && (leaderIsOurs || first === undefined || table.marked.has(leader));
  const known = new Set(seen.map(identityOf));
  const roots = table.processes.filter(
    (process) =>
      table.marked.has(process.pid) ||
      known.has(identityOf(process)) ||
      (trusted && [process.pid, process.groupId, process.sessionId].includes(leader)),
  );
  const found = withDescendants(roots, table.processes);
  return table.processes.filter(({ pid }) => found.has(pid));
}

function identityOf({ pid, groupId, sessionId }: RemoteProcess): string {
  return `${pid} ${groupId} ${sessionId}`;
}

/** Pids of the roots and of all that descend from them. A target may tell of any number of processes, in any order. */
function withDescendants(roots: readonly RemoteProcess[], processes: readonly RemoteProcess[]): Set<number> {
  const children = new Map<number, number[]>();
  for (const { pid, parentPid } of processes) {
    const siblings = children.get(parentPid);
    if (siblings === undefined) children.set(parentPid, [pid]);
    else siblings.push(pid);
  }
  const found = new Set(roots.map(({ pid }) => pid));
  // A set is walked to what was added to it meanwhile, too.
  for (const pid of found) for (const child of children.get(pid) ?? []) found.add(child);
  return found;
}

/** The output of the listing script. Throws for one that was cut short. */
export function parseProcessTable(output: string): ProcessTable {
  // A login shell's startup files may print before us.
  const start = output.search(/^(proc|ps) table$/m);
  if (start < 0 || !output.endsWith('table end\n')) throw new Error('the process table was cut short');
  const text = output.slice(start);
  const marked = new Set(
    [...text.matchAll(/^marked \/proc\/(\d{1,10})\/environ$/gm)].map((match) => Number(match[1])),
  );
  const processes = text.startsWith('proc')
    ? // pid (comm) state ppid pgrp session …: comm may hold anything, spaces and brackets included. The kernel cuts it
      // at 64 bytes; without a bound, names that never end would be looked through to the end each.
      [
        ...text.matchAll(
          /^(\d{1,10}) \(([\s\S]{0,64}?)\) ([A-Za-z]) (\d{1,10}) (-?\d{1,10}) (-?\d{1,10}) /gm,
        ),
      ].map((match) => ({
        state: match[3] as string,
        pid: Number(match[1]),
        parentPid: Number(match[4]),
        groupId: Number(match[5]),
        sessionId: Number(match[6]),
        command: match[2] as string,
      }))
    : [...text.matchAll(/^ *(\d{1,10}) +(\d{1,10}) +(\d{1,10}) +(\S{1,16}) +(.*)$/gm)].map((match) => ({
        state: match[4] as string,
        pid: Number(match[1]),
        parentPid: Number(match[2]),
        groupId: Number(match[3]),
        sessionId: 0,
        command: match[5] as string,
      }));
  // Zombies are dead; only their parent has not asked yet.
  const living = processes.filter(({ state }) => !/^[ZX]/i.test(state));
  return { marked, processes: living.map(({ state: _, ...process }) => process) };
}

function listScript(marked: string): string {
  // `grep` finds candidates in one process; of these only an exact value counts (a.1 is not a.12).
  return `{
m='${marked}'
if [ -r /proc/self/stat ]; then
echo 'proc table'
cat /proc/[0-9]*/stat 2>/dev/null
for f in $(grep -lF "$m" /proc/[0-9]*/environ 2>/dev/null); do
tr '\\000' '\\n' <"$f" 2>/dev/null | grep -qxF "$m" && echo "marked $f"
done
else
echo 'ps table'
ps -A -o pid= -o ppid= -o pgid= -o stat= -o comm=
fi
echo 'table end'
}
`;
}
