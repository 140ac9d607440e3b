// The scripts in the shells that are /bin/sh somewhere, without SSH.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { newNonce } from '../steps/ssh-exec/bootstrap-report.ts';
import { commandScript } from '../steps/ssh-exec/ssh-exec-script.ts';
import { type ReadEvent, ReadStream } from './read-stream.ts';
import { readScript, startScript } from './supervisor-script.ts';

const shells = ['dash', 'mksh', 'bash --posix', 'busybox sh', 'zsh --emulate sh'].filter(
  (shell) => spawnSync('sh', ['-c', `${shell} -c true`]).status === 0,
);

function lastFiles(place: string): string[] {
  const names = readdirSync(place).map((file) => file.replace(/\..*/, ''));
  return names.filter((name) => name === 'gone' || name === 'over').sort();
}

function shellIn(home: string, command: string) {
  return spawn('sh', ['-c', command], {
    env: { PATH: process.env.PATH, HOME: home },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
}

const reportAtOnce = (report: string) => `{ echo "${report}" >&8; echo >&9; }`;
/** A statement that ends the shell, or the part of it, that comes to it. */
const killed = `kill -9 "$(exec sh -c 'echo $PPID')"`;

/** Starts a command by this shell, also where the scripts name /bin/sh, and returns all that the reader tells. */
async function start(
  shell: string,
  command: string,
  { before = '', report = reportAtOnce, change = (text: string) => text } = {},
): Promise<Record<string, string>> {
  const home = mkdtempSync(join(tmpdir(), 'opsconductor-shell-'));
  onTestFinished(() => rmSync(home, { recursive: true }));
  const nonce = newNonce();
  const script = commandScript({ marker: 'script.1.1', command }, report, {
    afterReport: ['exec 8>&- 9>&-'],
  });
  const text = startScript({ name: 'script.1.1', marker: 'script.1.1', nonce, script }).toString();
  const child = shellIn(home, `${before} exec ${shell}`);
  child.stdin.write(change(text).replaceAll('/bin/sh', shell));
  const stream = new ReadStream(nonce);
  const told: Record<string, string> = { order: '' };
  child.stdout.on('data', (bytes: Buffer) => {
    for (const event of stream.push(bytes)) {
      if (event.is === 'output') told[event.stream] = `${told[event.stream] ?? ''}${event.bytes}`;
      else if (event.is !== 'used') told['order'] += `${event.is === 'exit' ? event.code : event.is} `;
    }
  });
  // As an agent does: the reader looks again, whatever it has missed.
  child.stdin.on('error', () => {});
  const pings = setInterval(() => child.stdin.write('ping\n'), 1_000);
  await once(child, 'close');
  clearInterval(pings);
  const place = join(home, '.opsconductor/attempts/script.1.1');
  // The last files of the supervisor and of the reader.
  if (existsSync(place)) await expect.poll(() => lastFiles(place)).toEqual(['gone', 'over']);
  return told;
}

test.each(shells)('%s starts a command, reads its output, and knows its end', async (shell) => {
  const told = await start(shell, 'echo out; echo err >&2; seq 1 20000; exit 7');
  const numbers = Array.from({ length: 20_000 }, (_, n) => `${n + 1}\n`).join('');
  expect(told).toEqual({ order: 'begin report 7 end ', stdout: `out\n${numbers}`, stderr: 'err\n' });
});

test.each(shells)('%s keeps what a limit on the size of files lets it, and knows the end', async (shell) => {
  const told = await start(shell, 'seq 1 40000; exit 7', { before: 'ulimit -f 64;' });
  expect(told['order']?.split(' ').sort().join(' ').trim()).toBe('7 begin end full report');
  expect(told['stdout']).toMatch(/^1\n2\n3\n/);
  expect(await start(shell, 'exit 7', { before: 'ulimit -f 0;' })).toEqual({ order: 'refused ' });
});

test.each(shells)(
  '%s knows the end of a command that was killed before it opened its output',
  async (shell) => {
    const change = (text: string) => text.replace('cd "$h" 2>/dev/null || cd /', killed);
    expect(await start(shell, 'echo out', { change })).toEqual({ order: 'begin 137 end ' });
  },
);

// A shell may also lose the signal, as mksh does in a process that it has only just forked.
test.each(shells)('%s knows the end where startup files ignore the signal TERM', async (shell) => {
  const bursts = 'for i in 1 2 3; do seq 1 60000; sleep 0.2; done; exit 7';
  const { order, stdout } = await start(shell, bursts, { before: `trap '' TERM;` });
  expect(order).toBe('begin report 7 end ');
  expect(stdout).toHaveLength(3 * 348_894);
});

test.each(shells)('%s ends a command whose output nothing keeps from the first moment on', async (shell) => {
  const both = (text: string) => text.replace('collect() {', `collect() {\n${killed}`);
  const first = (text: string) => text.replace('collect 1 &', `{ ${killed}; } &`);
  for (const [change, told] of [
    [both, 'begin 137 full full end '],
    [first, 'begin 137 full end '],
  ] as const)
    expect(await start(shell, 'echo out', { change })).toEqual({ order: told });
});

test.each(shells)(
  'the more processes a host has, the less often a command is measured there, in %s',
  async (shell) => {
    const folder = mkdtempSync(join(tmpdir(), 'opsconductor-proc-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const [proc, slept] = [join(folder, 'proc'), join(folder, 'slept')];
    for (let pid = 1; pid <= 600; pid += 1) {
      mkdirSync(join(proc, String(pid)), { recursive: true });
      writeFileSync(join(proc, `${pid}/stat`), `${pid} (x) S 1 ${pid} ${pid}${' 7'.repeat(46)}\n`);
    }
    const told = await start(shell, `until [ "$(wc -l <${slept})" -ge 12 ]; do sleep 0.1; done`, {
      change: (text) =>
        text
          .replace('/proc/[0-9]', `${proc}/[0-9]`)
          .replace('sleep $every &', 'sleep 0.01 &')
          .replace('t=$((t + every))', `$&; echo $every >>${slept}`),
    });
    expect(told['order']).toContain('0 ');
    // Every two seconds, and after 20 s every five, which are enough for 600 processes.
    const waits = readFileSync(slept, 'utf8').split('\n').slice(0, 12);
    expect(waits).toEqual([...Array<string>(10).fill('2'), '5', '5']);
  },
);

test('a supervisor that is done is not waited for, though it has not gone yet', async () => {
  const stays = 'echo over >over; echo >&4\nwhile [ -d "$d" ]; do sleep 0.1; done';
  const change = (text: string) =>
    text.replace('collect() {', `collect() {\n${killed}`).replace('echo over >over; echo >&4', stays);
  expect(await start('sh', 'echo out', { change })).toEqual({ order: 'begin 137 full full end ' });
});

test('an agent that finds a start that was killed halfway says so by itself', async () => {
  const home = mkdtempSync(join(tmpdir(), 'opsconductor-shell-'));
  onTestFinished(() => rmSync(home, { recursive: true }));
  const name = 'script.1.1';
  const text = startScript({ name, marker: name, nonce: newNonce(), script: '' }).toString();
  const starter = shellIn(home, 'exec sh');
  starter.stdin.write(text.replace('setsid /bin/sh ./supervisor', `${killed}; true`));
  await once(starter, 'close');
  const nonce = newNonce();
  const reader = shellIn(home, 'exec sh');
  const positions = { stdout: 0, stderr: 0, collector: 1 };
  const script = readScript({ name, nonce, ...positions }).toString();
  // Its pauses are nothing that this test is about.
  reader.stdin.write(script.replace('sleep 1; echo >&4', 'echo >&4'));
  const stream = new ReadStream(nonce);
  const told: ReadEvent[] = [];
  reader.stdout.on('data', (bytes: Buffer) => told.push(...stream.push(bytes)));
  await once(reader, 'close');
  expect(told).toEqual([{ is: 'begin' }, { is: 'lost', why: 'supervisor' }]);
});

test.each(shells)(
  '%s tells what the shell reports, however much of the line was there at a look',
  async (shell) => {
    const report = (line: string) =>
      [
        `{ l="${line}"; f=$HOME/.opsconductor/attempts/script.1.1/armed; printf %s "\${l%?}" >&8`,
        // The reader notes each time that it has looked and is about to wait.
        'for i in 1 2; do read -r a <"$f"; echo >&9; while read -r b <"$f"; [ "$a" = "$b" ]; do sleep 0.01; done; done',
        'echo "${l#"${l%?}"}" >&8; echo >&9; }',
      ].join('\n');
    expect(await start(shell, 'exit 7', { report })).toEqual({ order: 'begin report 7 end ' });
  },
);

/** How the version before this one reads whether the supervisor lives, and what the command's shell reports. */
const readerBefore = [
  'z=0; rep=',
  'alive() { [ -s super ] || { z=$((z + 1)); [ $z -lt 4 ]; return; }; read -r q s <super; kill -0 "$q" 2>/dev/null || return 1',
  '[ "$s" = - ] && return 0; read -r line 2>/dev/null <"/proc/$q/stat" || return 1; line=${line##*) }; set -- $s $line; [ "$1" = "${21}" ]; }',
  `look() { [ -n "$rep" ] || { [ -s report ] && read -r rep <report && echo "r $rep"; }; }`,
  'echo "$1 begin"; alive || echo "l supervisor"; look; echo "start 77" 1<>report; look; look; echo end',
].join('\n');

test('a supervisor that has only just been started, and a shell that has reported nothing, are waited for, also by an agent of the version before', async () => {
  const home = mkdtempSync(join(tmpdir(), 'opsconductor-shell-'));
  onTestFinished(() => rmSync(home, { recursive: true }));
  const nonce = newNonce();
  const text = startScript({ name: 'script.1.1', marker: 'script.1.1', nonce, script: '' }).toString();
  const child = shellIn(home, 'exec sh');
  // A supervisor that has not come to its first statement.
  child.stdin.write(text.replace('setsid /bin/sh ./supervisor', 'true'));
  const stream = new ReadStream(nonce);
  const told: ReadEvent[] = [];
  child.stdout.on('data', (bytes: Buffer) => told.push(...stream.push(bytes)));
  await expect.poll(() => told).toEqual([{ is: 'begin' }]);
  const cwd = join(home, '.opsconductor/attempts/script.1.1');
  const before = execFileSync('sh', ['-c', readerBefore, 'sh', nonce], { cwd });
  expect([...new ReadStream(nonce).push(before)]).toEqual([
    { is: 'begin' },
    { is: 'report', report: { kind: 'started', pid: 77 } },
    { is: 'end' },
  ]);
  // Nor for ever, if it never comes.
  child.stdin.write('ping\n'.repeat(8));
  await once(child, 'close');
  expect(told.at(-1)).toEqual({ is: 'lost', why: 'supervisor' });
  await expect.poll(() => lastFiles(cwd)).toEqual(['gone']);
});
