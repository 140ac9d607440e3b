import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { powershellBootstrap } from '@opsconductor/protocol';
import { expect, onTestFinished } from 'vitest';
import { withoutPool } from '../connection/pool.ts';
import { cmdRunner } from '../powershell/powershell.ts';
import { hostOfFile, optionsFor, winrmTest } from '../testing/winrm-setup.ts';
import { fileServer } from './file-server.ts';
import { FileSession, wordOf } from './file-session.ts';

const host = hostOfFile({
  emulated: { bootstrap: powershellBootstrap, cmdRunner, fileServer },
  settings: { maxSendSeconds: 60 },
});

winrmTest(
  'nothing of a file is lost on a host that takes it more slowly than its reply timeout',
  async () => {
    await mkdir(host.fixture.drive, { recursive: true });
    // Every message that is larger than a pipe is answered as too late, and the one after it as too early.
    await host.fixture.reset({ maxSendSeconds: 0 });
    const session = await FileSession.open({
      connections: withoutPool(optionsFor(host.fixture, 'http')),
      busyMs: 5,
    });
    onTestFinished(() => session.close());
    const content = randomBytes(5_000_000);
    const [handle = ''] = await session.ask('create', wordOf('C:\\unfinished'), 'new');
    await session.write(handle, 0, content);
    const size = String(content.length);
    expect(await session.ask('hash', handle, size)).toEqual([
      createHash('sha256').update(content).digest('hex'),
    ]);
    await session.ask('commit', handle, wordOf('C:\\file'), size, '-');
    expect((await readFile(join(host.fixture.drive, 'file'))).equals(content)).toBe(true);
  },
);
