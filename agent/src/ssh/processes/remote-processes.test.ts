import { expect, test } from 'vitest';
import type { ScriptTarget } from '../run-script.ts';
import { refusalOf, type SshSetup, setupSshd, sshTest } from '../sshd-setup.ts';
import { attemptProcesses, listProcesses, parseProcessTable, signalProcesses } from './remote-processes.ts';

/** What follows the session in /proc/PID/stat. */
const rest =
  ' 0 -1 4194560 107 0 0 0 0 0 0 0 20 0 1 0 8315 2662400 224 18446744073709551615 94 95 140 0 0 0 0 0 65538 1 0 0 17 1 0 0 0 0 0 94 95 96 140 141 142 143 0';
const reader = `2 (sh) S 1 2 2${rest}`;
const proc = (lines: string[]) =>
  `welcome to web-1\nproc table\n${[...lines, reader].join('\n')}\nreader 2\ntable end\n`;

function scriptTarget(t: SshSetup): ScriptTarget {
  return { pool: t.pool(), request: t.request, scriptTimeoutMs: 30_000, giveUpAfterMs: 30_000 };
}

test('a table of /proc is read, with names of any kind and without zombies', () => {
  const table = parseProcessTable(
    proc([
      `10 (sh) S 1 10 10${rest}`,
      `11 (a (b) c) R 10 10 10${rest}`,
      `12 (gone) Z 10 10 10${rest}`,
      'marked /proc/11/environ',
    ]),
  );
  expect(table.processes).toEqual([
    { pid: 10, parentPid: 1, groupId: 10, sessionId: 10, command: 'sh' },
    { pid: 11, parentPid: 10, groupId: 10, sessionId: 10, command: 'a (b) c' },
    { pid: 2, parentPid: 1, groupId: 2, sessionId: 2, command: 'sh' },
  ]);
  expect([...table.marked]).toEqual([11]);
});

test('a table of ps is read if there is no /proc', () => {
  const table = parseProcessTable(
    'ps table\n    1     0     1 Ss   /sbin/launchd\n  123     1   123 Z    (gone)\nreader 1\ntable end\n',
  );
  expect(table.processes).toEqual([
    { pid: 1, parentPid: 0, groupId: 1, sessionId: 0, command: '/sbin/launchd' },
  ]);
});

test('a table cut short proves nothing', () => {
  expect(() => parseProcessTable(proc([]).slice(0, -4))).toThrow('cut short');
  expect(() => parseProcessTable('')).toThrow('cut short');
});

test.each(['a) S 1 12345 1 ', 'a) S 1 999 1\n2 ', '\n9 (a) S 1 7 7 '])(
  'a process of another user can’t pass for one of another group by its name (%j)',
  (name) => {
    const { processes } = parseProcessTable(proc([`30 (${name}) S 1 30 30${rest}`]));
    expect(processes[0]).toEqual({ pid: 30, parentPid: 1, groupId: 30, sessionId: 30, command: name });
    expect(processes.map(({ pid }) => pid)).toEqual([30, 2]);
  },
);

test('a table without the process that has read it proves nothing: the system may not have let it read', () => {
  expect(() => parseProcessTable('proc table\nreader 2\ntable end\n')).toThrow('lacks its own reader');
  expect(() => parseProcessTable(`proc table\n${reader}\ntable end\n`)).toThrow('lacks its own reader');
});

const row = (pid: number, parentPid: number, groupId: number, sessionId: number) => ({
  pid,
  parentPid,
  groupId,
  sessionId,
  command: 'x',
});
const family = [row(30, 20, 30, 30), row(20, 10, 10, 10), row(10, 1, 10, 10), row(99, 1, 99, 99)];

test('session, group, descent and marker make a family, and nothing else does', () => {
  const pids = (marked: number[], leader: number | undefined, ours: boolean) =>
    attemptProcesses({ processes: family, marked: new Set(marked) }, leader, ours).map(({ pid }) => pid);
  expect(pids([], 10, true)).toEqual([30, 20, 10]);
  expect(pids([99], 10, true)).toEqual([30, 20, 10, 99]);
  expect(pids([20], undefined, false)).toEqual([30, 20]);
  expect(pids([], undefined, false)).toEqual([]);
});

test('a pid that may have been reused counts only with the marker', () => {
  const find = (marked: number[]) =>
    attemptProcesses({ processes: family, marked: new Set(marked) }, 10, false);
  expect(find([])).toEqual([]);
  expect(find([10])).toHaveLength(3);
  // A pid can't be reused while processes of its session live, so an absent leader is trusted.
  const orphans = family.filter(({ pid }) => pid !== 10);
  expect(attemptProcesses({ processes: orphans, marked: new Set() }, 10, false)).toHaveLength(2);
});

test('what a process of the family forked counts after that process has ended, by the group or session it began', () => {
  const seen = [row(20, 10, 10, 10), row(30, 20, 30, 30)];
  const find = (...processes: ReturnType<typeof row>[]) =>
    attemptProcesses({ processes, marked: new Set() }, undefined, false, seen).map(({ pid }) => pid);
  expect(find(row(31, 1, 30, 30), row(32, 1, 32, 30), row(99, 1, 99, 99))).toEqual([31, 32]);
  // A target without /proc doesn't tell sessions.
  seen.push(row(40, 20, 40, 0));
  expect(find(row(41, 1, 40, 0), row(98, 1, 98, 0))).toEqual([41]);
  // Process 20 began neither the group nor the session that it was in.
  expect(find(row(21, 1, 10, 10))).toEqual([]);
});

test('a target that invents its process table does not slow the agent down', () => {
  const unclosed = `proc table\n${reader}\n${'1 (\n'.repeat(50_000)}reader 2\ntable end\n`;
  expect(parseProcessTable(unclosed).processes.map(({ pid }) => pid)).toEqual([2]);
  // Each process descends from the one after it.
  const chain = Array.from({ length: 20_000 }, (_, n) => row(n + 2, n + 3, 1, 1));
  const table = { processes: chain, marked: new Set([20_001]) };
  expect(attemptProcesses(table, undefined, false)).toHaveLength(chain.length);
  expect(attemptProcesses({ ...table, marked: new Set() }, undefined, false, chain)).toHaveLength(
    chain.length,
  );
});

sshTest('a real table contains the processes of the target', async () => {
  const t = await setupSshd();
  const table = await listProcesses(scriptTarget(t), 'no.such.marker');
  expect(table.processes.map(({ pid }) => pid)).toEqual(expect.arrayContaining([process.pid]));
  expect(table.marked.size).toBe(0);
});

sshTest('a signal is never sent to all processes', async () => {
  const t = await setupSshd();
  const target = scriptTarget(t);
  // If one of these were sent, the session that sends it would be gone.
  await signalProcesses(target, 'KILL', [-1, 0, 1, Number.NaN], { groups: [1, -1, Number.NaN] });
  await signalProcesses(target, 'KILL', [], { groups: [0] });
  expect((await listProcesses(target, 'm')).processes.length).toBeGreaterThan(0);
});

sshTest('a target that refuses is given up on at once, one that is down after a while', async () => {
  const t = await setupSshd();
  const target = scriptTarget(t);
  const locked = { ...target, request: { ...t.request, target: { ...t.target, id: 2, hostKeys: [] } } };
  expect((await refusalOf(listProcesses(locked, 'm'))).reason).toBe('host_key_unknown');
  await t.sshd.stop();
  expect((await refusalOf(listProcesses({ ...target, giveUpAfterMs: 200 }, 'm'))).reason).toBe(
    'connection_refused',
  );
});

sshTest('a target that comes back is asked again', async () => {
  const t = await setupSshd();
  const target = scriptTarget(t);
  await t.sshd.stop();
  const listing = listProcesses(target, 'm');
  await t.sshd.restart();
  expect((await listing).processes.length).toBeGreaterThan(0);
});
