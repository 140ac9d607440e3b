// A shell that was prepared for the step that follows, which then doesn't.
import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { sshTest } from '../../ssh/sshd-setup.ts';
import { setupExec } from './ssh-exec-setup.ts';

function shellsFor(marker: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`OPSCONDUCTOR_ATTEMPT=${marker}`);
    } catch {
      return false;
    }
  });
}

sshTest('a shell that was prepared for a step that no longer follows is not kept', async () => {
  const t = await setupExec();
  await t.run({ command: 'true' });
  const marker = `not-followed-${process.pid}.2.1`;
  let follows = true;
  const running = t.run(
    { command: 'echo begun; read line </dev/null; sleep 1' },
    {
      followedBy: () => (follows ? [marker] : []),
    },
  );
  await t.sink.seen(/begun/);
  await expect.poll(() => shellsFor(marker)).toHaveLength(1);
  // The agent has handed the follower back: it waited for too long.
  follows = false;
  await running;
  await expect.poll(() => shellsFor(marker)).toEqual([]);
});

sshTest('after a step that failed, no shell is kept for the one that was to follow', async () => {
  const t = await setupExec();
  await t.run({ command: 'true' });
  const marker = `failed-${process.pid}.2.1`;
  const running = t.run({ command: 'echo begun; sleep 1; false' }, { followedBy: () => [marker] });
  await t.sink.seen(/begun/);
  await expect.poll(() => shellsFor(marker)).toHaveLength(1);
  expect(await running).toMatchObject({ status: 'failed' });
  await expect.poll(() => shellsFor(marker)).toEqual([]);
});
