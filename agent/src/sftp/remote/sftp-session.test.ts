import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { letBeFreed } from '../../ssh/packets/packet-memory.ts';
import { RemoteDirectory } from './remote-directory.ts';
import { SftpSession } from './sftp-session.ts';
import { attributes, PacketReader, replies, requests, string, uint32 } from './wire/packets.ts';
import { SftpWire, type WireChannel } from './wire/sftp-wire.ts';

const ok = 0;
const failure = 4;

/** A server without OpenSSH's extensions, on which no file can be renamed. */
class BareServer extends EventEmitter implements WireChannel {
  readonly unlinked: string[] = [];
  readonly closed: string[] = [];
  readonly made: string[] = [];
  #heard = Buffer.alloc(0);

  write(bytes: Buffer): void {
    this.#heard = Buffer.concat([this.#heard, bytes]);
    while (this.#heard.length > 4 && this.#heard.length >= 4 + this.#heard.readUInt32BE()) {
      const end = 4 + this.#heard.readUInt32BE();
      const [type, body] = [this.#heard[4] ?? 0, new PacketReader(this.#heard.subarray(5, end))];
      this.#heard = this.#heard.subarray(end);
      if (type === requests.init) this.send(replies.version, uint32(3));
      else this.answer(type, body.uint32(), body);
    }
  }

  close(): void {
    this.emit('close');
  }

  /** Sends in a later turn, as over a network. */
  send(type: number, ...fields: readonly Buffer[]): void {
    const packet = Buffer.concat([Buffer.of(type), ...fields]);
    setImmediate(() => this.emit('data', Buffer.concat([uint32(packet.length), packet])));
  }

  status(id: number, code: number): void {
    this.send(replies.status, uint32(id), uint32(code), string('said'), string(''));
  }

  answer(type: number, id: number, body: PacketReader): void {
    if (type === requests.close) this.closed.push(body.name());
    if (type === requests.remove) this.unlinked.push(body.name());
    if (type === requests.open) this.send(replies.handle, uint32(id), string('file'));
    else if (type === requests.opendir) this.send(replies.handle, uint32(id), string('directory'));
    // The listing never ends.
    else if (type === requests.readdir) {
      const names = Array.from({ length: 100 }, (_, at) => [string(`f${at}`), string(''), attributes({})]);
      this.send(replies.name, uint32(id), uint32(100), ...names.flat());
    } else this.status(id, type === requests.rename ? failure : ok);
  }
}

/** Does what it is asked to, and closes before it answers. */
class CutServer extends BareServer {
  override answer(_type: number, _id: number, body: PacketReader): void {
    this.made.push(body.name());
    this.emit('close');
  }
}

async function sessionWith(server: BareServer, most?: { entries: number; nameBytes: number }) {
  const wire = await SftpWire.open(server);
  return new SftpSession(wire, 'web-1', most === undefined ? {} : { most });
}

test('an endless directory is given up on, and closed', async () => {
  const server = new BareServer();
  const session = await sessionWith(server, { entries: 1_000, nameBytes: 1_000_000 });
  await expect(session.list('/d')).rejects.toMatchObject({
    reason: 'transfer_failed',
    message: expect.stringContaining('/d on web-1 has more than 1000 files'),
  });
  expect(server.closed).toEqual(['directory']);
  const short = await sessionWith(new BareServer(), { entries: 1_000_000, nameBytes: 200 });
  await expect(short.list('/d')).rejects.toMatchObject({ reason: 'transfer_failed' });
});

/** Has several directories. */
class ManyDirectories extends BareServer {
  readonly listed = new Map<string, number>();

  override answer(type: number, id: number, body: PacketReader): void {
    if (type === requests.opendir) this.send(replies.handle, uint32(id), string(body.name()));
    else {
      if (type === requests.readdir) {
        const handle = body.name();
        this.listed.set(handle, (this.listed.get(handle) ?? 0) + 1);
      }
      super.answer(type, id, body);
    }
  }
}

test('of several long listings one goes on at a time', async () => {
  const server = new ManyDirectories();
  const session = await sessionWith(server, { entries: 20_000, nameBytes: 10_000_000 });
  const first = session.list('/a');
  const second = session.list('/b');
  await expect(first).rejects.toMatchObject({ reason: 'transfer_failed' });
  // Pieces of a hundred: it has waited once it had more than 10,000.
  expect(server.listed.get('/b')).toBeLessThanOrEqual(102);
  await expect(second).rejects.toMatchObject({ reason: 'transfer_failed' });
});

test('what an SFTP server sends is given back once it was taken', async () => {
  const server = new BareServer();
  const wire = await SftpWire.open(server);
  const head = [uint32(20_009), Buffer.of(replies.data), uint32(0), uint32(20_000)];
  // With memory of its own, as the cipher makes it; `concat` may take it from the pool.
  const packet = Buffer.from(new Uint8Array(Buffer.concat([...head, Buffer.alloc(20_000, 7)])).buffer);
  letBeFreed(packet);
  const into = Buffer.alloc(20_000);
  const reading = wire.read(Buffer.from('file'), into, 20_000, 0);
  server.emit('data', packet);
  expect(await reading).toBe(20_000);
  expect(into.every((byte) => byte === 7)).toBe(true);
  expect(packet.length).toBe(0);
});

test('a listing ends if the server sends no more names, whether or not it says so', async () => {
  const server = new BareServer();
  const session = await sessionWith(server);
  const pieces = [1, 0, 1];
  server.answer = (type, id) => {
    if (type === requests.opendir) return server.send(replies.handle, uint32(id), string('directory'));
    if (type !== requests.readdir) return server.status(id, ok);
    const count = pieces.shift() ?? 0;
    const names = Array.from({ length: count }, () => [string('f'), string(''), attributes({})]);
    server.send(replies.name, uint32(id), uint32(count), ...names.flat());
  };
  expect(await session.list('/d')).toHaveLength(1);
  expect(pieces).toEqual([1]);
});

test('the replacement of a file that is already gone is kept, and named', async () => {
  const server = new BareServer();
  const session = await sessionWith(server);
  const directory = new RemoteDirectory({ host: 'web-1', session: async () => session } as never, '/d');
  const sink = await directory.openSink('f', { size: 0, mode: 0o600 });
  await expect(sink.commit({}, 0)).rejects.toMatchObject({
    message: expect.stringMatching(/The replacement is there, complete, as \/d\/\.opsconductor-[0-9a-f]+\.$/),
  });
  await sink.discard(false);
  expect(server.unlinked).toEqual(['/d/f']);
});

test('a file whose attributes can not be read again after reading it fails alone', async () => {
  const server = new BareServer();
  const session = await sessionWith(server);
  server.answer = (type, id) => {
    if (type === requests.open) server.send(replies.handle, uint32(id), string('file'));
    else if (type === requests.fstat) server.send(replies.attributes, uint32(id), attributes({}));
  };
  const directory = new RemoteDirectory({ host: 'web-1', session: async () => session } as never, '/d');
  const source = await directory.openSource('f');
  // As for a file on a network disk that was removed in the meantime.
  server.answer = (_type, id) => server.status(id, failure);
  await expect(source.hasChanged()).rejects.toMatchObject({
    reason: 'transfer_failed',
    message: '/d/f on web-1 could not be read: said.',
  });
});

test('a file that was opened, but whose attributes can not be read, is closed', async () => {
  const server = new BareServer();
  const session = await sessionWith(server);
  const { answer } = server;
  server.answer = (type, id, body) =>
    type === requests.fstat ? server.status(id, failure) : answer.call(server, type, id, body);
  const directory = new RemoteDirectory({ host: 'web-1', session: async () => session } as never, '/d');
  await expect(directory.openSource('f')).rejects.toMatchObject({
    message: '/d/f on web-1 could not be read: said.',
  });
  expect(server.closed).toEqual(['file']);
});

test.each([
  ['file', (directory: RemoteDirectory) => directory.openSink('f', { size: 0, mode: 0o600 })],
  ['link', (directory: RemoteDirectory) => directory.makeLink('f', 'to')],
])(
  'a %s that was made without an answer before the connection was lost is removed over the next one',
  async (_, make) => {
    const lost = new CutServer();
    const next = new BareServer();
    const sessions = [await sessionWith(lost), await sessionWith(next)];
    const session = async () => sessions.find(({ open }) => open);
    const directory = new RemoteDirectory({ host: 'web-1', session } as never, '/d');
    await expect(make(directory)).rejects.toMatchObject({ reason: 'transfer_cut' });
    expect(lost.made).toHaveLength(1);
    expect(next.unlinked).toEqual(lost.made);
  },
);

test.each([
  ['a number that was not asked', (server: BareServer) => server.status(77, ok)],
  ['a packet without end', (server: BareServer) => server.emit('data', Buffer.from('Welcome to web-1!\n'))],
  [
    'more bytes than were asked for',
    (server: BareServer, id: number) => server.send(replies.data, uint32(id), string(Buffer.alloc(101))),
  ],
  [
    'a name instead of bytes',
    (server: BareServer, id: number) => server.send(replies.name, uint32(id), uint32(0)),
  ],
  ['less than a packet has', (server: BareServer, id: number) => server.send(replies.status, uint32(id))],
])('a server that answers %s fails the request, and its session is closed', async (_, say) => {
  const server = new BareServer();
  const session = await sessionWith(server);
  server.answer = (_type, id) => void say(server, id);
  const memory = Buffer.alloc(200);
  await expect(session.read(Buffer.from('file'), memory, 100, 0)).rejects.toMatchObject({
    reason: 'transfer_cut',
  });
  expect(session.open).toBe(false);
  expect(memory.equals(Buffer.alloc(200))).toBe(true);
});

test('packets are understood however they are split, and bytes go into the right buffer', async () => {
  const server = new BareServer();
  const session = await sessionWith(server);
  server.answer = (_type, id) => {
    const packet = Buffer.concat([Buffer.of(replies.data), uint32(id), string('some bytes')]);
    for (const byte of Buffer.concat([uint32(packet.length), packet])) server.emit('data', Buffer.of(byte));
  };
  const memory = Buffer.alloc(12, '.');
  expect(await session.read(Buffer.from('file'), memory, 12, 0)).toBe(10);
  expect(memory.toString()).toBe('some bytes..');
});

test('a server that says nothing is given up on', async () => {
  const silent = new BareServer();
  silent.send = () => undefined;
  await expect(SftpWire.open(silent, { timeoutMs: 1 })).rejects.toMatchObject({ why: 'silence' });
});

const withLimits = [string('limits@openssh.com'), string('1')];

test.each([
  ['a refusal', (server: BareServer, id: number) => server.status(id, 8), undefined],
  [
    'limits that are none',
    (server: BareServer, id: number) => server.send(replies.extended, uint32(id), uint32(1)),
    { why: 'noise' },
  ],
  ['something else', (server: BareServer, id: number) => server.status(id, ok), { why: 'noise' }],
])('a server that answers the request for its limits with %s', async (_, say, error) => {
  const server = new BareServer();
  server.answer = (_type, id) => void say(server, id);
  const send = server.send.bind(server);
  server.send = (type, ...fields) => send(type, ...fields, ...(type === replies.version ? withLimits : []));
  const opening = SftpWire.open(server);
  if (error !== undefined) return expect(opening).rejects.toMatchObject(error);
  const { over } = await opening;
  expect(over).toBeUndefined();
});
