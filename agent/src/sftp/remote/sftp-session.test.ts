import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { RemoteDirectory } from './remote-directory.ts';
import { SftpSession } from './sftp-session.ts';

type Done = (error?: unknown, value?: unknown) => void;

/** A server without the extensions of OpenSSH, where no file can be given another name. */
class BareServer extends EventEmitter {
  readonly unlinked: string[] = [];
  readonly closed: string[] = [];

  open(_path: string, _flags: unknown, _mode: unknown, done: Done): void {
    done(undefined, Buffer.from('file'));
  }

  fsetstat(_handle: Buffer, _attributes: unknown, done: Done): void {
    done();
  }

  close(handle: Buffer, done: Done): void {
    this.closed.push(handle.toString());
    done();
  }

  rename(_from: string, _to: string, done: Done): void {
    done(Object.assign(new Error('Failure'), { code: 4 }));
  }

  unlink(path: string, done: Done): void {
    this.unlinked.push(path);
    done();
  }

  opendir(_path: string, done: Done): void {
    done(undefined, Buffer.from('directory'));
  }

  /** Never comes to an end. */
  readdir(_handle: Buffer, done: Done): void {
    const names = Array.from({ length: 100 }, (_, at) => ({ filename: `f${at}`, longname: '', attrs: {} }));
    setImmediate(done, undefined, names);
  }
}

/** Does what it is asked to, and is gone before it says so. */
class CutServer extends BareServer {
  readonly made: string[] = [];

  override open(path: string): void {
    this.#make(path);
  }

  symlink(_target: string, path: string): void {
    this.#make(path);
  }

  #make(path: string): void {
    this.made.push(path);
    this.emit('close');
  }
}

test('a directory that does not end is given up on, and let go of', async () => {
  const server = new BareServer();
  const session = new SftpSession(server as never, 'web-1', { entries: 1_000, nameBytes: 1_000_000 });
  await expect(session.list('/d')).rejects.toMatchObject({
    reason: 'transfer_failed',
    message: expect.stringContaining('/d on web-1 has more than 1000 files'),
  });
  expect(server.closed).toEqual(['directory']);
  const short = new SftpSession(server as never, 'web-1', { entries: 1_000_000, nameBytes: 1_000 });
  await expect(short.list('/d')).rejects.toMatchObject({ reason: 'transfer_failed' });
});

test('what was to replace a file that is gone by now is kept, and named', async () => {
  const server = new BareServer();
  const session = new SftpSession(server as never, 'web-1');
  const directory = new RemoteDirectory({ host: 'web-1', session: async () => session } as never, '/d');
  const sink = await directory.openSink('f', { size: 0, mode: 0o600 });
  await expect(sink.commit({}, 0)).rejects.toMatchObject({
    message: expect.stringMatching(/It is there whole, as \/d\/\.opsconductor-[0-9a-f]+\.$/),
  });
  await sink.discard(false);
  expect(server.unlinked).toEqual(['/d/f']);
});

test.each([
  ['file', (directory: RemoteDirectory) => directory.openSink('f', { size: 0, mode: 0o600 })],
  ['link', (directory: RemoteDirectory) => directory.makeLink('f', 'to')],
])(
  'a %s whose making was not answered before the connection was lost is removed by the next one',
  async (_, make) => {
    const lost = new CutServer();
    const next = new BareServer();
    const sessions = [lost, next].map((server) => new SftpSession(server as never, 'web-1'));
    const session = async () => sessions.find(({ open }) => open);
    const directory = new RemoteDirectory({ host: 'web-1', session } as never, '/d');
    await expect(make(directory)).rejects.toMatchObject({ reason: 'transfer_cut' });
    expect(lost.made).toHaveLength(1);
    expect(next.unlinked).toEqual(lost.made);
  },
);
