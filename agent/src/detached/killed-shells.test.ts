// Login shells that are ended before they answer, as by the kernel under a low limit on memory.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, vi } from 'vitest';
import { accountTest } from '../ssh/sshd-setup.ts';
import { setupExec } from '../steps/ssh-exec/ssh-exec-setup.ts';

// The pauses between two tries are nothing that these tests are about.
vi.mock('../timing/pause.ts', async (original) => ({
  ...(await original<typeof import('../timing/pause.ts')>()),
  pauseAtMost: () => new Promise(setImmediate),
}));

/** Returns a new directory in which the login user may remove things. */
function sharedDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'opsconductor-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  chmodSync(directory, 0o777);
  return directory;
}

accountTest(
  'a command whose shells are all ended by signals is not waited for until its time is up',
  async () => {
    const t = await setupExec({ config: ['ForceCommand kill -SEGV $$'] });
    expect(await t.run({ command: 'echo ran', survive_agent_restart: true })).toMatchObject({
      status: 'unknown',
      reason: 'supervisor_lost',
      message: expect.stringContaining('is ended before it answers (signal SEGV)'),
    });
  },
);

accountTest(
  'a start whose shell was ended by a signal is known not to have begun, and its command runs plainly',
  async () => {
    const flag = join(sharedDirectory(), 'flag');
    const ends = `if rmdir ${flag} 2>/dev/null; then kill -SEGV $$; fi`;
    const t = await setupExec({ config: [`ForceCommand ${ends}; eval "$SSH_ORIGINAL_COMMAND"`] });
    const run = (survive_agent_restart: boolean | undefined) => {
      mkdirSync(flag);
      const config = { command: 'echo ran', timeout: 600 };
      return t.run(survive_agent_restart === undefined ? config : { ...config, survive_agent_restart });
    };
    expect(await run(true)).toMatchObject({
      status: 'failed',
      reason: 'no_supervisor',
      message: expect.stringContaining('ended before it had read what was sent (signal SEGV)'),
    });
    expect(t.sink.stdout).toBe('');
    expect(await run(undefined)).toMatchObject({ status: 'succeeded' });
    expect(t.sink.stdout).toBe('ran\n');
  },
);

accountTest('a host that can not run find says so, and not that no directory is safe', async () => {
  const directory = sharedDirectory();
  writeFileSync(join(directory, 'find'), '#!/bin/sh\nexit 127\n', { mode: 0o755 });
  const config = [`ForceCommand PATH=${directory}:$PATH; eval "$SSH_ORIGINAL_COMMAND"`];
  const t = await setupExec({ config });
  expect(await t.run({ command: 'echo ran', survive_agent_restart: true })).toMatchObject({
    reason: 'no_supervisor',
    message: expect.stringContaining('it can not run find or id'),
  });
});
