// More output than fits on the agent's disk arrives whole, since the agent keeps only what the server has not stored.
import { execFileSync, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { writeOutputFile } from './support/output-file.ts';
import { setup } from './support/system.ts';

const mayMount = process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'true']).status === 0;

/** Mounts a small file system on a directory until it is disposed of. */
function smallDiskOn(directory: string, mib: number): Disposable {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mib}m,mode=700`, 'tmpfs', directory]);
  return { [Symbol.dispose]: () => void execFileSync('umount', ['-l', directory]) };
}

test.skipIf(!mayMount)(
  'a command that prints more than twice what the agent’s disk holds loses nothing, and the agent takes steps meanwhile',
  async () => {
    await using t = await setup();
    const file = await writeOutputFile(join(t.sshd.dir, randomUUID()), 60_000_000, 1);
    await t.agent.stop();
    using _disk = smallDiskOn(join(t.agent.dataDir, 'spool'), 24);
    t.agent.arguments = ['--min-free-mb', '8'];
    await t.agent.start();

    const gate = await t.gate();
    const much = await t.run([`cat ${file.path}; ${gate.wait}`]);
    const [stepId = 0] = much.stepIds;
    await t.agent.says(/output that the server has confirmed was removed/);
    const other = await t.run(['echo meanwhile']);
    expect(await other.reader.end()).toBe('succeeded');
    await gate.open();
    expect(await much.reader.end()).toBe('succeeded');
    expect(await t.stored(much.id, stepId)).toEqual({ bytes: file.bytes, sha256: file.sha256 });
    expect(await t.steps(much.id)).toMatchObject([{ outputState: 'complete', outputBytes: file.bytes }]);
  },
);
