// Targets that do what no SSH server should: how the agent reacts, and how much of its memory that takes.
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import ssh2 from 'ssh2';
import { expect, onTestFinished, test } from 'vitest';
import { TestSink } from '../steps/ssh-exec/ssh-exec-setup.ts';
import type { OpenedCredential } from '../steps/step-type.ts';
import { ed25519KeyPair } from '../testing/ssh-keys.ts';
import { connectSsh } from './connect.ts';
import { hostKeyBlob } from './host-key.ts';
import { wireString } from './host-keys/wire-reader.ts';
import {
  credential,
  hostKey,
  listen,
  mib,
  OpenStream,
  type ServerProtocol,
  sendRaw,
  sendsOnceReady,
  serve,
  started,
  step,
  targetAt,
} from './hostile-server-setup.ts';
import { SshPool } from './pool/pool.ts';
import { boundAnswers } from './ssh2/bound-connection.ts';
import { refusalOf } from './sshd-setup.ts';

test.each<[string, (socket: Socket) => void]>([
  ['greets without end', (socket) => greetForEver(socket, 'welcome\r\n')],
  ['never ends its first line', (socket) => greetForEver(socket, 'x')],
  ['says what it is and no more', (socket) => socket.write('SSH-2.0-Hostile\r\n')],
  [
    'then sends an endless packet',
    (socket) => socket.write(Buffer.concat([Buffer.from('SSH-2.0-Hostile\r\n'), Buffer.alloc(64, 0xff)])),
  ],
])('a server that %s is given up on with a message', async (_, serveSo) => {
  const target = await listen(serveSo);
  const error = await refusalOf(
    connectSsh(target, credential, { checkAddresses: () => {}, authTimeoutMs: 300 }),
  );
  expect(error.reason).toMatch(/^(connect_timed_out|unreachable)$/);
  expect(error.advice).not.toBe('');
});

function greetForEver(socket: Socket, line: string): void {
  const much = Buffer.from(line.repeat(Math.ceil((64 * 1024) / line.length)));
  const more = () => {
    while (socket.writable && socket.write(much));
    if (socket.writable) socket.once('drain', more);
  };
  more();
}

test('a session that is closed without saying how the command ended leaves that unknown', async () => {
  const target = await serve((channel) => started(channel, () => channel.close()));
  expect(await step(target)).toMatchObject({ status: 'unknown', reason: 'connection_lost' });
});

test('if the exit is sent twice, the first one counts', async () => {
  const twice = await serve((channel) =>
    started(channel, () => {
      channel.exit(0);
      channel.exit(7);
      channel.end();
    }),
  );
  expect(await step(twice)).toMatchObject({ status: 'succeeded', exitCode: 0 });
});

test.each(['data', 'stderr'])(
  '%s after the end of the output ends the connection, and not the agent',
  async (what) => {
    const target = await serve((channel, connection) =>
      started(channel, () => {
        const { id } = (channel as unknown as { outgoing: { id: number } }).outgoing;
        const { _protocol: protocol } = connection as unknown as { _protocol: ServerProtocol };
        protocol.channelEOF(id);
        if (what === 'data') protocol.channelData(id, Buffer.from('more'));
        else protocol.channelExtData(id, Buffer.from('more'), 1);
      }),
    );
    expect(await step(target)).toMatchObject({ status: 'unknown', reason: 'connection_lost' });
  },
);

test('stderr after the end of a stream through a jump host ends the connection, and not the agent', async () => {
  const target = await serve(
    () => {},
    undefined,
    undefined,
    (channel, connection) => {
      const { id } = (channel as unknown as { outgoing: { id: number } }).outgoing;
      const { _protocol: protocol } = connection as unknown as { _protocol: ServerProtocol };
      protocol.channelEOF(id);
      protocol.channelExtData(id, Buffer.from('more'), 1);
    },
  );
  const connection = await connectSsh(target, credential, { checkAddresses: () => {} });
  await connection.forward({ host: '127.0.0.1', port: 1, timeoutMs: 10_000 });
  await connection.closed;
});

test('data sent beyond the window ends the connection, and is not kept', async () => {
  let sent = 0;
  const sink = new TestSink();
  sink.blocked = true;
  const target = await serve((channel, connection) => {
    connection.once('close', () => sink.unblock());
    // Pretends that the window is infinite.
    (channel as unknown as { outgoing: { window: number } }).outgoing.window = 2 ** 31;
    started(channel, () => {
      const more = () => {
        // Not a divisor of the window: ssh2 only notices a window that is used up to exactly the last byte.
        while (sent < 128 * mib && channel.writable && channel.write(Buffer.alloc(30_000))) sent += 30_000;
        if (sent < 128 * mib && channel.writable) channel.once('drain', more);
      };
      more();
    });
  });
  expect(await step(target, sink)).toMatchObject({ status: 'unknown', reason: 'connection_lost' });
});

test.each([
  { out: 100_000, err: 1 },
  { out: 1, err: 100_000 },
])(
  'a server that keeps to its window is read to the end: $out bytes of output and $err of errors in turn',
  async ({ out, err }) => {
    const pieces = Math.ceil((16 * mib) / (out + err));
    let written = -1;
    const target = await serve(async (channel) => {
      const isFirst = written < 0;
      if (isFirst) {
        for (written = 0; written < pieces; written += 1) {
          await new Promise<unknown>((resolve) => channel.write(Buffer.alloc(out), resolve));
          await new Promise<unknown>((resolve) => channel.stderr.write(Buffer.alloc(err), resolve));
        }
      }
      channel.exit(0);
      channel.end();
    });
    const connection = await connectSsh(target, credential, { checkAddresses: () => {} });
    onTestFinished(() => connection.close());
    const channel = await connection.exec('print');
    const { stderr } = channel;
    // Nothing is read until the server has no room left: it has written nothing more in two round trips.
    for (let still = 0, before = -1; still < 2; before = written) {
      const other = await connection.exec('end');
      await once(other.resume(), 'close');
      still = written === before ? still + 1 : 0;
    }
    expect(written).toBeLessThan(pieces);
    expect(channel.readableLength + stderr.readableLength).toBeLessThanOrEqual(4 * mib);
    const read = { out: 0, err: 0 };
    channel.on('data', (bytes: Buffer) => {
      read.out += bytes.length;
    });
    stderr.on('data', (bytes: Buffer) => {
      read.err += bytes.length;
    });
    await once(channel, 'close');
    expect(read).toEqual({ out: out * pieces, err: err * pieces });
  },
);

test.each(['aes128-gcm@openssh.com', 'chacha20-poly1305@openssh.com', 'aes128-ctr'] as const)(
  'a packet for %s that claims to be huge gets no memory, even if a jump host passes on what follows',
  async (cipher) => {
    const target = await serve(() => {}, undefined, [cipher]);
    const stream = new OpenStream(target);
    const jump = { target: { ...target, name: 'bastion' }, credential, checkAddresses: () => {} };
    const connection = await connectSsh({ ...target, jumps: [jump] }, credential, {
      checkAddresses: () => {},
      reachJumpHost: async () => stream,
    });
    const before = process.memoryUsage().arrayBuffers;
    stream.push(Buffer.from('7ffffff07ffffff07ffffff07ffffff0', 'hex'));
    await expect.poll(() => connection.open).toBe(false);
    stream.push(Buffer.alloc(64 * 1024));
    await new Promise(setImmediate);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * mib);
  },
);

test('a packet before the keys that claims to be huge gets no memory, even if a jump host passes on more', async () => {
  const huge = Buffer.from('7ffffff0', 'hex');
  const target = await listen((socket) =>
    socket.write(Buffer.concat([Buffer.from('SSH-2.0-Hostile\r\n'), huge])),
  );
  const stream = new OpenStream(target);
  const jump = { target: { ...target, name: 'bastion' }, credential, checkAddresses: () => {} };
  const before = process.memoryUsage().arrayBuffers;
  const error = await refusalOf(
    connectSsh({ ...target, jumps: [jump] }, credential, {
      checkAddresses: () => {},
      reachJumpHost: async () => stream,
    }),
  );
  stream.push(Buffer.alloc(64 * 1024));
  await new Promise(setImmediate);
  expect(error.reason).toBe('unreachable');
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * mib);
});

test('a server that sends but does not read the answers is cut off', () => {
  const socket = new Duplex({ read: () => {}, write: () => {} });
  boundAnswers(socket);
  socket.write(Buffer.alloc(64 * mib));
  socket.emit('data', Buffer.alloc(1));
  expect(socket.destroyed).toBe(false);
  socket.write(Buffer.alloc(1));
  socket.emit('data', Buffer.alloc(1));
  expect(socket.destroyed).toBe(true);
});

test('an expired password is reported as such, and not sent again', async () => {
  const target = await serve(
    () => {},
    (context) => {
      if (context.method === 'password') context.requestChange('Choose another one', () => context.accept());
      else context.reject(['password']);
    },
  );
  const refused = await refusalOf(connectSsh(target, credential, { checkAddresses: () => {} }));
  expect(refused).toMatchObject({
    reason: 'auth_failed',
    message: expect.stringContaining('wants the password to be changed'),
  });
});

const globalRequest = 80;
const requestFailure = 82;
const openChannel = 90;
const openFailure = 92;

test('a list of host keys is not read, and its server is not asked to prove that it has them', async () => {
  const key = wireString(hostKeyBlob(hostKey.public) as Buffer);
  const list = [Buffer.from([globalRequest]), wireString('hostkeys-00@openssh.com'), Buffer.from([0])];
  const t = await sendsOnceReady(Buffer.concat([...list, key, key]));
  const connection = await connectSsh(t.target, credential, { checkAddresses: () => {} });
  await refusalOf(connection.exec('true'));
  connection.close();
  await connection.closed;
  expect(t.heard).toContain(openChannel);
  expect(t.heard).not.toContain(globalRequest);
});

test('what a server asks of the agent is refused, and its connection stays of use', async () => {
  const asks = (name: string) =>
    Buffer.concat([Buffer.from([globalRequest]), wireString(name), Buffer.from([1])]);
  const opens = (type: string, ...more: Buffer[]) =>
    Buffer.concat([Buffer.from([openChannel]), wireString(type), Buffer.alloc(12, 1), ...more]);
  const t = await sendsOnceReady(
    asks('keepalive@openssh.com'),
    asks('tcpip-forward'),
    opens('session'),
    opens('x11', wireString('127.0.0.1'), Buffer.alloc(4)),
    opens('forwarded-streamlocal@openssh.com', wireString('constructor'), wireString('')),
  );
  const connection = await connectSsh(t.target, credential, { checkAddresses: () => {} });
  await refusalOf(connection.exec('true'));
  const answers = t.heard.filter((type) => type !== openChannel);
  expect(answers).toEqual([requestFailure, requestFailure, openFailure, openFailure, openFailure]);
  connection.close();
});

test('a request that is cut short ends the connection, and not the agent', async () => {
  const t = await sendsOnceReady(Buffer.from([globalRequest, 0, 0, 1]));
  const connection = await connectSsh(t.target, credential, { checkAddresses: () => {} });
  await connection.closed;
});

test('a server that asks for one signature after the other is given up on', async () => {
  const key = ed25519KeyPair();
  const takes = Buffer.concat([
    ...[Buffer.from([60]), wireString('ssh-ed25519')],
    wireString(hostKeyBlob(key.public) as Buffer),
  ]);
  const target = await serve(
    () => {},
    (context) => {
      if (context.method !== 'publickey') context.reject(['publickey']);
      else for (let times = 0; times < 100; times += 1) sendRaw(context, takes);
    },
  );
  const login: OpenedCredential = {
    ...{ kind: 'ssh_private_key', id: '1', version: 1, user: 'ops', privateKey: key.private },
  };
  const refused = await refusalOf(connectSsh(target, login, { checkAddresses: () => {} }));
  expect(refused.message).toContain('asked for too many signatures');
});

test('what a server says that it allows is shown in part, and only as plain text', async () => {
  const allowed = ['\u001b[2J\n', 'x'.repeat(1000), ...Array.from({ length: 5000 }, () => 'a')];
  const target = await serve(
    () => {},
    (context) => context.reject(allowed as ssh2.AuthenticationType[]),
  );
  const refused = await refusalOf(connectSsh(target, credential, { checkAddresses: () => {} }));
  expect(refused.message).toMatch(/^[ -~]{1,400}$/);
});

test('a connection is closed even if the server has stopped reading', async () => {
  let onStopped = () => {};
  const stopped = new Promise<void>((resolve) => {
    onStopped = resolve;
  });
  const target = await serve((channel, connection) => {
    const { _sock: socket, _protocol: protocol } = connection as unknown as {
      _sock: Socket;
      _protocol: { channelWindowAdjust(id: number, bytes: number): void };
    };
    const { id } = (channel as unknown as { outgoing: { id: number } }).outgoing;
    protocol.channelWindowAdjust(id, 2 ** 31 - 1);
    channel.once('data', () => {
      socket.pause();
      onStopped();
    });
  });
  const connect = { closeTimeoutMs: 100 };
  const pool = new SshPool({ connect });
  const { channel, connection } = await pool.open(
    { target, credential, checkAddresses: () => {} },
    (opened) => opened.exec('cat'),
  );
  channel.on('error', () => {}).write('x');
  await stopped;
  // More than the system buffers.
  channel.write(Buffer.alloc(32 * mib));
  await pool.close();
  expect(connection.open).toBe(false);
});

test('a connection through a jump host that does not close its stream counts as closed in time', async () => {
  const target = await serve((channel) => channel.exit(0));
  const jump = { target: { ...target, name: 'bastion' }, credential, checkAddresses: () => {} };
  const connection = await connectSsh({ ...target, jumps: [jump] }, credential, {
    checkAddresses: () => {},
    closeTimeoutMs: 100,
    reachJumpHost: async () => new OpenStream(target),
  });
  connection.close();
  await connection.closed;
});

test('a connection on which the server never answers a request for a channel is given up', async () => {
  const server = new ssh2.Server({ hostKeys: [hostKey.private] }, (connection) => {
    onTestFinished(() => void connection.end());
    connection.on('error', () => {});
    connection.on('authentication', (context) => context.accept());
    connection.on('session', () => asked());
  });
  let asked = () => {};
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const pool = new SshPool({ lateChannelMs: 50, idleMs: 3_600_000 });
  onTestFinished(() => pool.close());
  const stop = new AbortController();
  let closed: Promise<void> | undefined;
  const request = { target: targetAt(server.address()), credential, checkAddresses: () => {} };
  const opening = pool.open({ ...request, signal: stop.signal }, (connection) => {
    closed = connection.closed;
    return connection.exec('true');
  });
  await isAsked;
  stop.abort(new Error('no longer wanted'));
  await expect(opening).rejects.toThrow('no longer wanted');
  await closed;
  expect(pool.connections).toBe(0);
});
