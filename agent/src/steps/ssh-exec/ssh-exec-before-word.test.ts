// What a shell does before it is given the word to begin its command (ADR 0066), and the outcome of a step that ends at
// that point.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, vi } from 'vitest';
import { setupSshd, sshTest } from '../../ssh/sshd-setup.ts';
import { setupExec, setupExecOn, TestSink } from './ssh-exec-setup.ts';
import {
  blockUntilTheOne,
  endAtTheWord,
  hearWhatCame,
  isGone,
  muchText,
  printsMuch,
  shellAtTheWord,
  shellsAtTheWord,
  waitingShells,
} from './target-shells-setup.ts';

/**
 * Sets up the first or second step on a connection. Only the second step's script is sent while its start is recorded,
 * because our shell has answered on the connection by then.
 */
async function setupStep(which: 'first' | 'second') {
  const t = await setupExec();
  if (which === 'first') return { t, scriptIsThere: async () => undefined };
  await t.run({ command: 'echo $PPID' });
  const connectionPid = Number(t.sink.stdout);
  t.sink.parts.length = 0;
  return { t, scriptIsThere: () => shellAtTheWord(connectionPid) };
}

sshTest(
  'the script is at the target while the start is recorded, though that holds up the agent’s thread',
  async () => {
    const t = await setupExec();
    await t.run({ command: 'echo $PPID' });
    const connectionPid = Number(t.sink.stdout);
    let shells: number[] = [];
    const beforeStart = async () => {
      shells = blockUntilTheOne(() => shellsAtTheWord(connectionPid));
    };
    const outcome = await t.run({ command: 'echo started' }, { beforeStart });
    expect(shells).toHaveLength(1);
    expect(outcome.status).toBe('succeeded');
  },
);

sshTest('output is expected once the command was given the word, and of no other', async () => {
  const t = await setupExec();
  const refused = t.run(
    { command: 'true' },
    { beforeStart: () => Promise.reject(new Error('the lease is over')) },
  );
  await expect(refused).rejects.toThrow('the lease is over');
  expect(t.sink.expected).toBe(0);
  let expectedAtFirst: number | undefined;
  const write = vi.spyOn(t.sink, 'write').mockImplementation(() => {
    expectedAtFirst ??= t.sink.expected;
    return true;
  });
  await t.run({ command: 'echo out' });
  expect(write).toHaveBeenCalled();
  expect(expectedAtFirst).toBe(1);
});

for (const which of ['first', 'second'] as const) {
  sshTest(`nothing of a connection's ${which} step begins when the start is no longer allowed`, async () => {
    const { t, scriptIsThere } = await setupStep(which);
    let shell: number | undefined;
    const refused = t.run(
      { command: 'echo started' },
      {
        beforeStart: async () => {
          shell = await scriptIsThere();
          throw new Error('the lease is over');
        },
      },
    );
    await expect(refused).rejects.toThrow('the lease is over');
    await isGone(shell);
    expect((await t.run({ command: 'echo fine' })).status).toBe('succeeded');
    expect(t.sink.stdout).toBe('fine\n');
  });

  sshTest(`a stop before the start starts nothing of a connection's ${which} step`, async () => {
    const { t, scriptIsThere } = await setupStep(which);
    let shell: number | undefined;
    const outcome = await t.run(
      { command: 'echo started' },
      {
        beforeStart: async () => {
          shell = await scriptIsThere();
          t.stop('timed_out');
        },
      },
    );
    expect(outcome).toMatchObject({ status: 'timed_out', reason: 'timed_out' });
    expect(outcome.executionTimeMs).toBeUndefined();
    await isGone(shell);
    expect(t.sink.parts).toEqual([]);
  });

  sshTest(
    `a connection lost before its ${which} command may begin is a failure, not an unknown`,
    async () => {
      const { t, scriptIsThere } = await setupStep(which);
      let shell: number | undefined;
      const outcome = await t.run(
        { command: 'echo started' },
        {
          beforeStart: async () => {
            shell = await scriptIsThere();
            const { connection } = await t.warm.open(t.request, async () => ({}));
            t.sshd.killSessions();
            await connection.closed;
          },
        },
      );
      expect(outcome).toMatchObject({ status: 'failed', reason: 'unreachable' });
      await isGone(shell);
      expect(t.sink.parts).toEqual([]);
    },
  );
}

sshTest(
  'a shell that gets the script while the start is recorded begins the command afterwards, with all its output',
  async () => {
    // As a login shell's startup file may do.
    const t = await setupExec({ config: ['ForceCommand echo hello; eval "$SSH_ORIGINAL_COMMAND"'] });
    for (let n = 0; n < 3; n += 1) await t.run({ command: 'echo $PPID' });
    const connectionPid = Number(/\d+/.exec(t.sink.stdout)?.[0]);
    await expect.poll(() => waitingShells(connectionPid)).toHaveLength(1);
    const [shell] = waitingShells(connectionPid);
    const before = t.sink.parts.length;
    const outcome = await t.run(
      { command: 'echo began; echo failed >&2; exit 3' },
      {
        beforeStart: async () => {
          // It has read the script up to the word, which it reads from descriptor 3.
          await expect.poll(() => existsSync(`/proc/${shell}/fd/3`)).toBe(true);
          expect(t.sink.parts).toHaveLength(before);
        },
      },
    );
    expect(outcome).toMatchObject({ status: 'failed', exitCode: 3 });
    const said = t.sink.parts.slice(before).map(({ stream, bytes }) => [stream, bytes.toString()]);
    expect(said).toEqual([
      ['stdout', 'hello\n'],
      ['stdout', 'began\n'],
      ['stderr', 'failed\n'],
    ]);
  },
);

sshTest(
  '1 MiB that a shell prints before its command may begin arrives once, when there is room, and is not all read before that',
  async () => {
    const t = await setupExec({ config: [printsMuch] });
    await t.run({ command: 'echo $PPID' });
    const connectionPid = Number(/\d+/.exec(t.sink.stdout)?.[0]);
    const output = new TestSink();
    output.blocked = true;
    const running = t.run(
      { command: 'echo began; echo failed >&2' },
      {
        output,
        beforeStart: async () => {
          await shellAtTheWord(connectionPid);
          await hearWhatCame(t);
          expect(output.parts).toEqual([]);
        },
      },
    );
    await output.seen(/x/);
    // A sink without room is given one piece and no more.
    expect(output.parts).toHaveLength(1);
    output.unblock();
    // Once there is room, the kept output follows in the same turn, before anything else is read.
    await Promise.resolve();
    const ahead = output.bytes('stdout').length;
    expect(ahead).toBeGreaterThan(256 * 1024);
    expect(ahead).toBeLessThan(512 * 1024);
    expect(await running).toMatchObject({ status: 'succeeded' });
    expect(output.stdout === `${muchText}began\n`).toBe(true);
    expect(output.stderr).toBe('failed\n');
  },
);

sshTest('the time limit for reaching the command counts from when the command may begin', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'opsconductor-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  chmodSync(directory, 0o777);
  const flag = join(directory, 'flag');
  // If that folder exists, the next shell swallows the script and never reaches its command.
  const config = [
    `ForceCommand rmdir ${flag} 2>/dev/null && exec cat >/dev/null; eval "$SSH_ORIGINAL_COMMAND"`,
  ];
  const sshd = await setupSshd({ config });
  const pool = sshd.pool();
  const t = setupExecOn({ ...sshd, pool: () => pool });
  await t.run({ command: 'echo $PPID' });
  const connectionPid = Number(t.sink.stdout);
  const hasty = setupExecOn({ ...sshd, pool: () => pool }, { beginWithinMs: 50 });
  const inTime = await hasty.run(
    { command: 'echo began' },
    {
      beforeStart: async () => {
        await shellAtTheWord(connectionPid);
        await hearWhatCame(t);
      },
    },
  );
  expect(inTime).toMatchObject({ status: 'succeeded' });
  expect(hasty.sink.stdout).toBe('began\n');
  // Retired, because the shell that waits for a third step was started before the flag existed.
  pool.retire();
  await t.run({ command: 'true' });
  mkdirSync(flag);
  let permittedAt = 0;
  const late = await hasty.run(
    { command: 'echo began' },
    {
      beforeStart: async () => {
        await expect.poll(() => existsSync(flag)).toBe(false);
        await hearWhatCame(t);
        permittedAt = performance.now();
      },
    },
  );
  expect(late.message).toContain('did not reach the command within 0.05 s');
  expect(performance.now() - permittedAt).toBeGreaterThan(49);
  expect(hasty.sink.stdout).toBe('began\n');
});

for (const [how, config] of [
  ['', []],
  [', though it had told that it is ready behind what it printed', [printsMuch]],
] as const) {
  sshTest(`a shell that was ended while the start was recorded has not begun the command${how}`, async () => {
    const t = await setupExec({ config: [...config] });
    await t.run({ command: 'echo $PPID' });
    const connectionPid = Number(/\d+/.exec(t.sink.stdout)?.[0]);
    const outcome = await t.run(
      { command: 'echo began' },
      {
        beforeStart: async () => {
          await endAtTheWord(t, connectionPid);
        },
      },
    );
    expect(outcome).toMatchObject({ status: 'failed', reason: 'channel_refused' });
    expect(outcome.executionTimeMs).toBeUndefined();
    expect(t.sink.stdout).not.toContain('began');
  });
}
