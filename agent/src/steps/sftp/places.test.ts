import { spawnSync } from 'node:child_process';
import { lstatSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { accountTest, sshTest } from '../../ssh/sshd-setup.ts';
import { setupTransfers, withoutSftp } from './sftp-setup.ts';

for (const [way, type, sshd] of [
  ['SFTP', 'upload', {}],
  ['SCP', 'copy', withoutSftp],
] as const) {
  sshTest(`a pipe at the destination is not replaced by a file over ${way}`, async () => {
    const t = await setupTransfers(sshd);
    const file = await t.put('local', 'file', 'content');
    const pipe = join(t.remote, 'pipe');
    spawnSync('mkfifo', ['-m', '666', pipe]);
    const { outcome } = await t.run(type, { local_path: file, remote_path: pipe });
    expect(outcome).toMatchObject({ status: 'failed', message: expect.stringMatching(/pipe/) });
    expect(lstatSync(pipe).isFIFO()).toBe(true);
  });
}

accountTest('a copy where a startup file prints something says so, over SCP too', async () => {
  // Bash reads the file at its first level only, and the server's sessions otherwise begin at the second.
  const t = await setupTransfers({
    account: { name: 'opsdeploy', shell: '/bin/bash' },
    config: ['SetEnv SHLVL=0'],
  });
  writeFileSync(join(t.sshd.dir, 'home/.bashrc'), 'echo Welcome\n');
  const file = await t.put('local', 'file', 'content');
  const { outcome } = await t.run('copy', { local_path: file, remote_path: join(t.remote, 'file') });
  expect(outcome).toMatchObject({
    status: 'failed',
    message: expect.stringContaining('is not scp'),
    advice: expect.stringContaining('startup files'),
  });
});
