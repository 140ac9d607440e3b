// Login shells that prepare for attempts themselves, on servers where that is not understood.
import { expect } from 'vitest';
import { sshTest } from '../../ssh/sshd-setup.ts';
import { type ExecSetup, setupExec, TestSink } from './ssh-exec-setup.ts';
import { childrenOf, hearWhatCame, read, theOne, waitingShells } from './target-shells-setup.ts';

/** A forced command that allows only what a step is begun with on a new connection, and does this at anything else. */
const otherwise = (does: string) =>
  `ForceCommand case $SSH_ORIGINAL_COMMAND in "exec /bin/sh -c"*) eval "$SSH_ORIGINAL_COMMAND";; *) echo other; ${does};; esac`;

async function runRow(t: ExecSetup, length: number): Promise<{ statuses: string[]; output: TestSink }> {
  const markers = Array.from({ length }, (_, n) => `row-${process.pid}.${Date.now()}.${n + 1}`);
  const output = new TestSink();
  const statuses: string[] = [];
  for (const [n, marker] of markers.entries()) {
    const followedBy = (most: number) => markers.slice(n + 1, n + 1 + most);
    const { status } = await t.run({ command: `echo ${n} $PPID` }, { marker, output, followedBy });
    statuses.push(status);
  }
  return { statuses, output };
}

for (const [what, does] of [
  ['refuses other commands', 'exit 1'],
  ['reads the script of one that it then refuses', 'while read -r x; do [ "$x" != } ] || exit 1; done'],
  ['reads the script of one as something else', 'exec cat >/dev/null'],
  ['reads what others are sent as a script, with the marker', 'exec /bin/sh'],
] as const) {
  sshTest(`a row of steps goes well under a forced command that ${what}`, async () => {
    const t = await setupExec({ config: [otherwise(does)] }, { trialMs: 500 });
    const { statuses, output } = await runRow(t, 8);
    expect(statuses).toEqual(Array(8).fill('succeeded'));
    // All on one connection, and nothing of what the other program printed.
    expect(new Set(output.stdout.match(/ .*/g)).size).toBe(1);
    expect(output.stdout.match(/^\d(?= )/gm)).toEqual(['0', '1', '2', '3', '4', '5', '6', '7']);
    expect(output.stdout).not.toContain('other');
  });
}

sshTest('a login shell that ended while it waited is not asked to wait again', async () => {
  const t = await setupExec();
  await t.run({ command: 'echo $PPID' });
  const connectionPid = Number(t.sink.stdout);
  await t.run({ command: 'true' });
  const itself = await theOne(() => waitingShells(connectionPid));
  process.kill(itself, 'SIGKILL');
  await expect.poll(() => childrenOf(connectionPid)).toEqual([]);
  await hearWhatCame(t);
  await t.run({ command: 'true' });
  const next = await theOne(() => waitingShells(connectionPid));
  expect(read(`/proc/${next}/cmdline`).split('\0').slice(0, 2)).toEqual(['/bin/sh', '-c']);
});

sshTest('the script follows the record to a login shell that has not answered yet', async () => {
  const t = await setupExec();
  await t.run({ command: 'echo $PPID' });
  const connectionPid = Number(t.sink.stdout);
  for (const answered of [false, true]) {
    await t.run({ command: 'true' });
    const shell = await theOne(() => waitingShells(connectionPid));
    // Not `/bin/sh -c`, which is what any other login shell becomes.
    expect(read(`/proc/${shell}/cmdline`)).toMatch(/^[^/\0]+\0-c\0read -r /);
    const reachesTheWord = () => read(`/proc/${shell}/fdinfo/3`) !== '';
    await t.run(
      { command: 'true' },
      {
        beforeStart: async () => {
          await expect.poll(() => read(`/proc/${shell}/cmdline`)).toBe('/bin/sh\0');
          if (answered) await expect.poll(reachesTheWord).toBe(true);
          else expect(reachesTheWord()).toBe(false);
        },
      },
    );
  }
});
