// Finds the processes of an attempt on its target by session, process group, descent and marker, and signals them.
import type { ScriptTarget } from '../run-script.ts';
import { runScript } from '../run-script.ts';

export interface RemoteProcess {
  pid: number;
  parentPid: number;
  groupId: number;
  /** 0 if the target can't tell. */
  sessionId: number;
  /** Name of the program, without its arguments, which may hold secrets. */
  command: string;
}

export interface ProcessTable {
  processes: RemoteProcess[];
  /** Pids whose environment holds the marker; only Linux shows environments. */
  marked: Set<number>;
}

/** Reads the target's process table. Rejects if the target can't be asked. */
export async function listProcesses(
  target: ScriptTarget,
  marker: string,
  variable: 'OPSCONDUCTOR_ATTEMPT' | 'OPSCONDUCTOR_SUPERVISOR' = 'OPSCONDUCTOR_ATTEMPT',
): Promise<ProcessTable> {
  return parseProcessTable(await runScript(target, listScript(`${variable}=${marker}`)));
}

/** Runs `note` on the target, then sends a signal to the process groups and the processes. */
export async function signalProcesses(
  target: ScriptTarget,
  signal: 'TERM' | 'KILL',
  pids: readonly number[],
  { groups = [], note }: { groups?: readonly number[]; note?: string | undefined } = {},
): Promise<void> {
  // 0, 1 and negative numbers would reach other processes, up to all of them.
  const safe = (ids: readonly number[]) => ids.filter((id) => Number.isInteger(id) && id > 1);
  const receivers = [...safe(groups).map((id) => `-${id}`), ...safe(pids)];
  // A stopped process receives TERM only when it continues.
  const signals = signal === 'TERM' ? ['TERM', 'CONT'] : ['KILL'];
  const each = signals.flatMap((name) => receivers.map((to) => `kill -s ${name} -- ${to} 2>/dev/null`));
  await runScript(target, [...(note === undefined ? [] : [note]), ...each, 'echo done', ''].join('\n'));
}

/**
 * Returns the living processes of an attempt whose first shell had the pid `leader`. `leaderIsOurs` means that this pid
 * can't have been reused by another process since. Processes in `seen`, found a moment ago, still count, and so does
 * anything in a group or session that one of them began: once their parent has ended, nothing else may identify them.
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
  const groups = new Set(seen.filter(({ pid, groupId }) => pid === groupId).map(({ pid }) => pid));
  const sessions = new Set(seen.filter(({ pid, sessionId }) => pid === sessionId).map(({ pid }) => pid));
  const roots = table.processes.filter(
    (process) =>
      table.marked.has(process.pid) ||
      known.has(identityOf(process)) ||
      groups.has(process.groupId) ||
      sessions.has(process.sessionId) ||
      (trusted && [process.pid, process.groupId, process.sessionId].includes(leader)),
  );
  const found = withDescendants(roots, table.processes);
  return table.processes.filter(({ pid }) => found.has(pid));
}

function identityOf({ pid, groupId, sessionId }: RemoteProcess): string {
  return `${pid} ${groupId} ${sessionId}`;
}

/** Returns the pids of the roots and all their descendants. A target may list any number of processes, in any order. */
function withDescendants(roots: readonly RemoteProcess[], processes: readonly RemoteProcess[]): Set<number> {
  const children = new Map<number, number[]>();
  for (const { pid, parentPid } of processes) {
    const siblings = children.get(parentPid);
    if (siblings === undefined) children.set(parentPid, [pid]);
    else siblings.push(pid);
  }
  const found = new Set(roots.map(({ pid }) => pid));
  // Iterating over a set also visits what is added during the iteration.
  for (const pid of found) for (const child of children.get(pid) ?? []) found.add(child);
  return found;
}

/** Parses the output of the listing script. Throws if it was cut short. */
export function parseProcessTable(output: string): ProcessTable {
  // A login shell's startup files may print something first.
  const start = output.search(/^(proc|ps) table$/m);
  if (start < 0 || !output.endsWith('table end\n')) throw new Error('the process table was cut short');
  const text = output.slice(start);
  const marked = new Set(
    [...text.matchAll(/^marked \/proc\/(\d{1,10})\/environ$/gm)].map((match) => Number(match[1])),
  );
  const processes = text.startsWith('proc')
    ? // pid (comm) state ppid pgrp session …: comm may contain anything, even line ends and what looks like its own end.
      // So it ends where there are only numbers behind it, more than fit into it. The kernel cuts it at 64 bytes; without
      // that limit, the expression would search to the end of the text for each name that never ends.
      [
        ...text.matchAll(
          /^(\d{1,10}) \(([\s\S]{0,64}?)\) ([A-Za-z]) (\d{1,10}) (-?\d{1,10}) (-?\d{1,10})(?: -?\d{1,20}){32}/gm,
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
  const reader = Number(/^reader (\d{1,10})$/m.exec(text)?.[1]);
  if (!processes.some(({ pid }) => pid === reader)) throw new Error('the process table lacks its own reader');
  // Zombies have ended; only their parent has not collected them yet.
  const living = processes.filter(({ state }) => !/^[ZX]/i.test(state));
  return { marked, processes: living.map(({ state: _, ...process }) => process) };
}

function listScript(marked: string): string {
  // `grep` finds candidates in one process; of these only an exact value counts (a.1 is not a.12). The names of all
  // files may be more than the system passes to a program: then nothing is found, which must not look like no process.
  // The line end comes after what a startup file has printed without one.
  return `{
echo
m='${marked}'
if [ -r /proc/self/stat ]; then
echo 'proc table'
cat /proc/[0-9]*/stat 2>/dev/null
found=$(grep -lF "$m" /proc/[0-9]*/environ 2>/dev/null)
[ $? -lt 126 ] || exit 1
for f in $found; do
tr '\\000' '\\n' <"$f" 2>/dev/null | grep -qxF "$m" && echo "marked $f"
done
else
echo 'ps table'
ps -A -o pid= -o ppid= -o pgid= -o stat= -o comm=
fi
echo "reader $$"
echo 'table end'
}
`;
}
