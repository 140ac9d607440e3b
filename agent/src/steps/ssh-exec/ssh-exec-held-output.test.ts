// Shells that have ended or refused while a process they started holds their output open: steps don't wait for that.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { accountTest, sshTest } from '../../ssh/sshd-setup.ts';
import { TestSink } from './ssh-exec-setup.ts';
import {
  endAtTheWord,
  hearWhatCame,
  isGone,
  read,
  runs,
  setupHeldOutput,
  setupHolder,
} from './target-shells-setup.ts';

/** So long that a test fails if anything waits for it. */
const leftWithinMs = 600_000;

sshTest('once it is read why a waiting shell refused, nothing more of it is waited for', async () => {
  const prints = 'head -c 1048576 /dev/zero | tr "\\0" x;';
  const { t, waiting } = await setupHeldOutput({ prints, leftWithinMs });
  const output = new TestSink();
  const running = t.run(
    { command: 'true', working_directory: '/nowhere' },
    {
      output,
      beforeStart: async () => {
        await isGone(waiting);
        await hearWhatCame(t);
      },
    },
  );
  await output.seen(/x/);
  t.stop();
  await running;
});

sshTest(
  'a step that its shell refuses ends although a process of a startup file holds its output',
  async () => {
    const { t, holder } = await setupHeldOutput();
    const outcome = await t.run({ command: 'true', working_directory: '/nowhere' });
    expect(outcome).toMatchObject({ status: 'failed', reason: 'working_directory' });
    expect(runs(holder())).toBe(true);
  },
);

sshTest('so does a step whose shell was ended before it was given the word', async () => {
  const { t, flag, holder } = await setupHolder();
  await t.run({ command: `mkdir ${flag}; echo $PPID` });
  const connectionPid = Number(t.sink.stdout);
  const outcome = await t.run(
    { command: 'echo began' },
    {
      beforeStart: async () => {
        await endAtTheWord(t, connectionPid);
      },
    },
  );
  expect(outcome).toMatchObject({ status: 'failed', reason: 'channel_refused' });
  expect(t.sink.stdout).not.toContain('began');
  expect(runs(holder())).toBe(true);
});

const brokenShells = [
  [
    'with the word',
    'exit 3;',
    {},
    { reason: 'channel_refused', message: expect.stringContaining('exit code 3') },
  ],
  ['that survives its agent', 'exit 3;', { survive_agent_restart: true }, { reason: 'no_supervisor' }],
  // Survival was not asked for and certainly nothing was started, so the command runs the other way.
  ['that may survive', 'exit 3;', { timeout: 900 }, { status: 'succeeded' }],
  // The process that holds the output may have started it. The target is asked, and says that it was not started.
  ['that may survive', 'exit 0;', { timeout: 900 }, { reason: 'unreachable' }],
] as const;
for (const [how, ends, config, expected] of brokenShells) {
  accountTest(
    `a command ${how} does not wait for what \`${ends}\` of a startup file has left running`,
    async () => {
      const { t, flag, holder } = await setupHolder({ ends });
      mkdirSync(flag);
      const outcome = await t.run({ command: 'echo began', ...config });
      expect(outcome).toMatchObject({ status: 'failed', ...expected });
      expect(t.sink.stdout.match(/began/g)?.length).toBe(outcome.status === 'succeeded' ? 1 : undefined);
      expect(runs(holder())).toBe(true);
    },
  );
}

accountTest(
  'a command that may survive is not waited for if each shell ends with 0 and leaves a process that holds its output',
  async () => {
    const { t, flag } = await setupHolder({ ends: 'exit 0;', each: true });
    mkdirSync(flag);
    const outcome = await t.run({ command: 'echo began', timeout: 900 });
    expect(outcome).toMatchObject({ status: 'unknown', reason: 'supervisor_lost' });
    expect(outcome.message).toContain('without answering what it is sent');
    expect(outcome.advice).toContain('startup files');
    expect(t.sink.stdout).toBe('');
  },
);

sshTest(
  'a shell that was ended before it reported, while the start was recorded, is not waited for',
  async () => {
    const { t, flag, holder } = await setupHolder({ ends: 'exit 3;' });
    await t.run({ command: `mkdir ${flag}` });
    const outcome = await t.run(
      { command: 'echo began' },
      {
        beforeStart: async () => {
          await expect.poll(holder).toBeGreaterThan(0);
          await hearWhatCame(t);
        },
      },
    );
    expect(outcome).toMatchObject({ status: 'failed', reason: 'channel_refused' });
    expect(outcome.message).toContain('exit code 3');
    expect(t.sink.stdout).not.toContain('began');
    expect(runs(holder())).toBe(true);
  },
);

accountTest(
  'reading a command’s output continues when the shell that read it is killed and its output held',
  async () => {
    const { t, flag, holder } = await setupHolder();
    mkdirSync(flag);
    const go = `${flag}.go`;
    const running = t.run(
      {
        command: `echo started; until [ -e ${go} ]; do sleep 0.1; done; echo ended`,
        survive_agent_restart: true,
      },
      { marker: 'm.20.1' },
    );
    await t.sink.seen(/started\n/);
    const tailer = join(t.sshd.dir, 'home/.opsconductor/attempts/m.20.1/tailer');
    process.kill(Number(read(tailer)), 'SIGKILL');
    mkdirSync(go);
    expect(await running).toMatchObject({ status: 'succeeded' });
    expect(t.sink.stdout).toBe('started\nended\n');
    expect(runs(holder())).toBe(true);
  },
);

sshTest('a cancelled step does not wait for output that a shell that has gone may have left', async () => {
  const { t, waiting } = await setupHeldOutput({ leftWithinMs });
  const begun: string[] = [];
  const outcome = await t.run(
    { command: 'echo began' },
    {
      beforeStart: async () => {
        begun.push('begun');
        process.kill(waiting, 'SIGKILL');
        await isGone(waiting);
        await hearWhatCame(t);
        t.stop();
      },
    },
  );
  expect(outcome).toMatchObject({ status: 'cancelled' });
  expect(begun).toEqual(['begun']);
});
