// SSH servers that misbehave as a test says, and what reaches them.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import ssh2 from 'ssh2';
import { onTestFinished } from 'vitest';
import { sshExec } from '../steps/ssh-exec/ssh-exec.ts';
import { TestSink } from '../steps/ssh-exec/ssh-exec-setup.ts';
import type { OpenedCredential, StepTarget } from '../steps/step-type.ts';
import { ed25519KeyPair } from '../testing/ssh-keys.ts';
import { SshPool } from './pool/pool.ts';

export const hostKey = ed25519KeyPair();
export const credential: OpenedCredential = {
  ...{ kind: 'ssh_password', id: '1', version: 1, user: 'ops', password: 'x' },
};
export const mib = 1024 * 1024;

export function targetAt(address: AddressInfo | string | null): StepTarget {
  const { port } = address as AddressInfo;
  const hostKeys = [hostKey.public.trim()];
  return { id: 1, name: 'hostile', host: '127.0.0.1', port, hostKeys };
}

/** Listens on a port and passes each connection to `serve`. */
export async function listen(serve: (socket: Socket) => void): Promise<StepTarget> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return targetAt(server.address());
}

/** Starts an SSH server that by default lets everybody in; `run` is called instead of running a command. */
export async function serve(
  run: (channel: ssh2.ServerChannel, connection: ssh2.Connection) => void,
  letIn: (context: ssh2.AuthContext) => void = (context) => context.accept(),
  cipher?: ssh2.CipherAlgorithm[],
  forward?: (channel: ssh2.ServerChannel, connection: ssh2.Connection) => void,
) {
  const algorithms = cipher === undefined ? {} : { algorithms: { cipher } };
  const server = new ssh2.Server({ hostKeys: [hostKey.private], ...algorithms }, (connection) => {
    onTestFinished(() => void connection.end());
    connection.on('error', () => {});
    connection.on('authentication', letIn);
    connection.on('tcpip', (accept) => forward?.(accept(), connection));
    connection.on('session', (accept) => {
      accept().on('exec', (acceptExec) => {
        const channel = acceptExec().on('error', () => {});
        run(channel, connection);
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return targetAt(server.address());
}

/** The parts used here of ssh2's side of a connection. */
export interface ServerProtocol {
  channelEOF(id: number): void;
  channelData(id: number, bytes: Buffer): void;
  channelExtData(id: number, bytes: Buffer, type: number): void;
}

/** Reports that the command has started, as the shell of a step does. */
export function started(channel: ssh2.ServerChannel, then: () => void): void {
  let script = '';
  channel.on('data', (bytes: Buffer) => {
    script += bytes;
    const [, nonce] = /echo "([0-9a-f]{32}) start/.exec(script) ?? [];
    if (nonce === undefined) return;
    script = '';
    channel.stderr.write(`${nonce} start 1\n`);
    then();
  });
}

export function step(target: StepTarget, sink = new TestSink()) {
  const pool = new SshPool();
  onTestFinished(() => pool.close());
  return sshExec(pool).execute(
    { command: 'true', timeout: 10 },
    {
      ...{ marker: 'hostile.1', directoryName: 'hostile.1', target, credential, output: sink },
      transfers: { progress: () => {}, report: () => {} },
      askServer: () => Promise.reject(new Error('There is no server')),
      maySurvive: false,
      signal: new AbortController().signal,
      beforeStart: async () => {},
      checkAddresses: () => {},
    },
  );
}

/** A stream through a jump host that doesn't close it when it is asked to. */
export class OpenStream extends Duplex {
  readonly #socket: Socket;

  constructor(target: StepTarget) {
    super();
    this.#socket = connect(target.port, target.host).on('error', () => {});
    this.#socket.on('data', (bytes) => this.push(bytes));
    onTestFinished(() => void this.#socket.destroy());
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.#socket.write(bytes, () => done());
  }

  override destroy(): this {
    return this;
  }
}

/** Sends a message of the protocol as it is, whatever state the connection is in. */
export function sendRaw(on: ssh2.Connection | ssh2.AuthContext, message: Buffer): void {
  const { _protocol: protocol } = on as unknown as {
    _protocol: {
      _packetRW: {
        write: { allocStart: number; alloc(bytes: number): Buffer; finalize(packet: Buffer): Buffer };
      };
      _cipher: { encrypt(packet: Buffer): void };
    };
  };
  const { write } = protocol._packetRW;
  const packet = write.alloc(message.length);
  packet.set(message, write.allocStart);
  protocol._cipher.encrypt(write.finalize(packet));
}

/** Starts a server that sends this as soon as it has let somebody in. Resolves with the types of what it gets then. */
export async function sendsOnceReady(...messages: Buffer[]) {
  const heard: number[] = [];
  const server = new ssh2.Server({ hostKeys: [hostKey.private] }, (connection) => {
    onTestFinished(() => void connection.end());
    connection.on('error', () => {});
    connection.on('authentication', (context) => context.accept());
    connection.on('session', (_, refuse) => refuse());
    connection.on('ready', () => {
      const { _protocol: protocol } = connection as unknown as { _protocol: { _decipher: Deciphers } };
      const { _decipher: decipher } = protocol;
      const onPayload = decipher._onPayload;
      decipher._onPayload = (payload) => {
        heard.push(payload[0] as number);
        return onPayload(payload);
      };
      for (const message of messages) sendRaw(connection, message);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return { target: targetAt(server.address()), heard };
}
interface Deciphers {
  _onPayload(payload: Buffer): unknown;
}
