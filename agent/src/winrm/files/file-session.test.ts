import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { powershellBootstrap } from '@opsconductor/protocol';
import { expect, onTestFinished } from 'vitest';
import { withoutPool } from '../connection/pool.ts';
import { namespaces } from '../messages/namespaces.ts';
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

winrmTest('a write that begins while the host is being lost ends, with the reason', async () => {
  const connections = withoutPool(optionsFor(host.fixture, 'http'));
  const gone = new Error('the host is gone');
  // Losing the host takes a few turns of the promises: the write begins before, between and after them.
  for (let turns = 0; turns < 10; turns += 1) {
    let lose = () => {};
    const connect = () => {
      const connection = connections.connect();
      const request = connection.request.bind(connection);
      connection.request = (envelope, options) => {
        if (!envelope.includes('shell/Receive<')) return request(envelope, options);
        return new Promise((_, reject) => {
          lose = () => reject(gone);
        });
      };
      return connection;
    };
    const session = await FileSession.open({ connections: { ...connections, connect } });
    onTestFinished(() => session.close());
    lose();
    for (let turn = 0; turn < turns; turn += 1) await undefined;
    await expect(session.write('1', 0, Buffer.from('some bytes'))).rejects.toBe(gone);
  }
});

winrmTest('a host whose list of files has no end is left, before it fills the memory', async () => {
  const connections = withoutPool(optionsFor(host.fixture, 'http'));
  const line = `1 more ${wordOf('x'.repeat(500_000))} f 0 0\n`;
  const output = Buffer.from(line.repeat(12)).toString('base64');
  let replies = 0;
  const connect = () => {
    const connection = connections.connect();
    const request = connection.request.bind(connection);
    connection.request = async (envelope, options) => {
      if (!envelope.includes('shell/Receive<')) return request(envelope, options);
      replies += 1;
      if (replies > 20) throw new Error('it asks for more and more');
      return `<s:Envelope xmlns:s="${namespaces.soap}" xmlns:r="${namespaces.shell}"><s:Body><r:ReceiveResponse>
        <r:Stream Name="stdout">${output}</r:Stream></r:ReceiveResponse></s:Body></s:Envelope>`;
    };
    return connection;
  };
  const session = await FileSession.open({ connections: { ...connections, connect } });
  onTestFinished(() => session.close());
  await expect(session.request('list', wordOf('C:\\'))).rejects.toThrow('it lists too many files');
});
