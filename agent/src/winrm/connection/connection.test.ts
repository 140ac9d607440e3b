import { expect } from 'vitest';
import { micOffset } from '../login/ntlm/messages.ts';
import { NtlmContext } from '../login/ntlm/ntlm-context.ts';
import type { SecurityContext } from '../login/security-context.ts';
import { readReply } from '../messages/replies.ts';
import { identifyMessage } from '../messages/soap.ts';
import {
  connectionTo,
  errorOf,
  hostOfFile,
  optionsFor,
  runOn,
  winrmPassword,
  winrmTest,
  winrmUser,
} from '../testing/winrm-setup.ts';
import type { ConnectionOptions } from './connection.ts';
import { dial } from './dial.ts';
import { exchange, OneSocketAgent } from './http-exchange.ts';

const host = hostOfFile();

const ntlm = { method: 'ntlm', user: winrmUser, password: winrmPassword } as const;
const basic = { method: 'basic', user: winrmUser, password: winrmPassword } as const;

winrmTest.for([
  ['http', ntlm],
  ['http', { ...ntlm, user: `FIXTURE\\${winrmUser}` }],
  ['http', { ...ntlm, user: `FIXTURE\\${winrmUser.toUpperCase()}` }],
  ['https', ntlm],
  ['strict', ntlm],
  ['sha384', ntlm],
  ['pss', ntlm],
  ['https', basic],
] as const)('a command runs over %s with %o', async ([listener, login]) => {
  const { end, stdout } = await runOn(host.fixture, 'echo hello; exit 3', {
    listener,
    connection: { login },
  });
  expect(end).toEqual({ how: 'exited', exitCode: 3, outputMayLack: false });
  expect(stdout.toString()).toBe('hello\n');
  expect((await host.fixture.stats()).refusals).toEqual([]);
});

winrmTest('a command runs over HTTPS with a client certificate', async () => {
  const login = { method: 'certificate', ...host.fixture.certificate('client') } as const;
  const { stdout } = await runOn(host.fixture, 'echo hello', { listener: 'https', connection: { login } });
  expect(stdout.toString()).toBe('hello\n');
  const connection = connectionTo(host.fixture, 'https', {
    login: { ...login, ...host.fixture.certificate('sha256') },
  });
  await expect(connection.request(identifyMessage())).rejects.toThrow();
});

winrmTest('many requests need one authentication', async () => {
  const connection = connectionTo(host.fixture, 'http');
  for (let n = 0; n < 20; n += 1) readReply(await connection.request(identifyMessage()));
  expect((await host.fixture.stats()).handshakes).toBe(1);
});

winrmTest('requests that are made at the same time are sent one after the other', async () => {
  const connection = connectionTo(host.fixture, 'http');
  const replies = await Promise.all(Array.from({ length: 20 }, () => connection.request(identifyMessage())));
  expect(replies).toHaveLength(20);
  expect((await host.fixture.stats()).handshakes).toBe(1);
});

winrmTest('a wrong password is refused, with advice', async () => {
  for (const [listener, login] of [
    ['http', { ...ntlm, password: 'wrong' }],
    ['https', { ...ntlm, password: 'wrong' }],
    ['https', { ...basic, password: 'wrong' }],
  ] as const) {
    const error = await errorOf(connectionTo(host.fixture, listener, { login }).request(identifyMessage()));
    expect(error).toMatchObject({ kind: 'auth_failed', notExecuted: true });
    expect(error.message).not.toContain('wrong');
  }
});

winrmTest(
  'an authentication that the host does not offer is reported, with those that it does offer',
  async () => {
    const tls = { ca: [host.fixture.certificate('sha256').certificate] };
    const error = await errorOf(
      connectionTo(host.fixture, 'http', { login: basic, tls }).request(identifyMessage()),
    );
    expect(error.kind).toBe('unreachable');
    expect(error.message).toContain('did not answer with TLS');
  },
);

winrmTest('a password never crosses the network unencrypted', () => {
  expect(() => connectionTo(host.fixture, 'plain', { login: basic })).toThrow(/needs HTTPS/);
});

winrmTest('a certificate that is not trusted, or for another name, is refused, unless insecure', async () => {
  const request = (more: Partial<ConnectionOptions>) =>
    connectionTo(host.fixture, 'https', more).request(identifyMessage());
  expect(await errorOf(request({ tls: {} }))).toMatchObject({ kind: 'certificate' });
  const other = { ca: [host.fixture.certificate('sha384').certificate] };
  expect(await errorOf(request({ tls: other }))).toMatchObject({ kind: 'certificate' });
  const renamed = { host: 'elsewhere.example', addressesOf: async () => ['127.0.0.1'] };
  const error = await errorOf(request(renamed));
  expect(error.kind).toBe('certificate');
  expect(error.message).toContain('elsewhere.example');
  readReply(await request({ tls: { insecure: true } }));
});

winrmTest('a port that nobody listens on is distinguished from a host that does not answer', async () => {
  const refused = await errorOf(connectionTo(host.fixture, 'http', { port: 1 }).request(identifyMessage()));
  expect(refused.kind).toBe('connection_refused');
  expect(refused.message).toContain('127.0.0.1 port 1');
});

winrmTest('addresses that may not be dialed are not dialed', async () => {
  const connection = connectionTo(host.fixture, 'http', {
    addressesOf: async () => {
      throw new Error('out of bounds');
    },
  });
  await expect(connection.request(identifyMessage())).rejects.toThrow('out of bounds');
  expect((await host.fixture.stats()).requests).toEqual([]);
});

winrmTest('the next address is tried if one refuses', async () => {
  const connection = connectionTo(host.fixture, 'http', {
    addressesOf: async () => ['127.0.0.9', '127.0.0.1'],
  });
  readReply(await connection.request(identifyMessage()));
});

winrmTest(
  'a session that the host has forgotten is replaced by a new one, and the request is executed once',
  async () => {
    const connection = connectionTo(host.fixture, 'http');
    await connection.request(identifyMessage());
    await host.fixture.forgetSessions();
    readReply(await connection.request(identifyMessage()));
    const { requests, handshakes } = await host.fixture.stats();
    expect(requests).toEqual(['Identify', 'Identify']);
    expect(handshakes).toBe(2);
  },
);

winrmTest('an idle connection is replaced before the host may have dropped it', async () => {
  let nowMs = 0;
  const connection = connectionTo(host.fixture, 'http', { monotonicMs: () => nowMs });
  await connection.request(identifyMessage());
  nowMs += 61_000;
  await connection.request(identifyMessage());
  expect((await host.fixture.stats()).handshakes).toBe(2);
});

// ---- broken on purpose; an acceptor that is not ours must refuse it

interface Breakage {
  token?(token: Buffer): Buffer;
  seal?(message: Buffer): Sealed;
}

/** NTLM with something wrong. */
class Broken implements SecurityContext {
  readonly #inner: SecurityContext;
  readonly #how: Breakage;
  readonly scheme = 'Negotiate';
  readonly sealedType: string;

  constructor(inner: SecurityContext, how: Breakage) {
    this.#inner = inner;
    this.#how = how;
    this.sealedType = inner.sealedType;
  }

  get complete(): boolean {
    return this.#inner.complete;
  }

  async step(received?: Buffer): Promise<Buffer | undefined> {
    const token = await this.#inner.step(received);
    return token?.[8] === 3 ? (this.#how.token?.(token) ?? token) : token;
  }

  seal(message: Buffer): { signature: Buffer; data: Buffer } {
    return this.#how.seal?.(message) ?? this.#inner.seal(message);
  }

  unseal(signature: Buffer, data: Buffer): Buffer {
    return this.#inner.unseal(signature, data);
  }

  dispose(): void {
    this.#inner.dispose();
  }
}

function flip(bytes: Buffer, at: number): Buffer {
  const flipped = Buffer.from(bytes);
  flipped[at] = (flipped[at] ?? 0) ^ 1;
  return flipped;
}

const ntlmOptions = { user: winrmUser, password: winrmPassword, host: '127.0.0.1' };

winrmTest.for([
  ['an integrity code that is wrong', (token: Buffer) => flip(token, micOffset)],
  ['no integrity code although it is announced', (token: Buffer) => token.fill(0, micOffset, micOffset + 16)],
  ['a proof that is wrong', (token: Buffer) => flip(token, token.readUInt32LE(24))],
  ['a session key other than the one announced', (token: Buffer) => flip(token, token.readUInt32LE(56))],
  ['flags that were changed on the way', (token: Buffer) => flip(token, 61)],
] as const)('a login with %s is refused', async ([, token]) => {
  const connection = connectionTo(host.fixture, 'http', {
    securityContext: async () => new Broken(new NtlmContext(ntlmOptions), { token }),
  });
  await errorOf(connection.request(identifyMessage()));
  const { requests, refusals } = await host.fixture.stats();
  expect(requests).toEqual([]);
  expect(refusals.length).toBeGreaterThan(0);
});

winrmTest.for(['https', 'strict'] as const)(
  'a login bound to another channel is refused over %s',
  async (listener) => {
    const channelBinding = Buffer.from('tls-server-end-point:another certificate');
    const connection = connectionTo(host.fixture, listener, {
      securityContext: async () => new NtlmContext({ ...ntlmOptions, channelBinding }),
    });
    expect(await errorOf(connection.request(identifyMessage()))).toMatchObject({ kind: 'auth_failed' });
  },
);

winrmTest('a login bound to no channel is refused if the host is strict', async () => {
  const securityContext = async () => new NtlmContext(ntlmOptions);
  const strict = connectionTo(host.fixture, 'strict', { securityContext });
  expect(await errorOf(strict.request(identifyMessage()))).toMatchObject({ kind: 'auth_failed' });
  readReply(await connectionTo(host.fixture, 'https', { securityContext }).request(identifyMessage()));
});

winrmTest.for([
  ['whose data was changed', (sealed: Sealed) => ({ ...sealed, data: flip(sealed.data, 5) })],
  ['whose checksum was changed', (sealed: Sealed) => ({ ...sealed, signature: flip(sealed.signature, 6) })],
  ['whose number was changed', (sealed: Sealed) => ({ ...sealed, signature: flip(sealed.signature, 12) })],
  ['that is shorter than it says', (sealed: Sealed) => ({ ...sealed, data: sealed.data.subarray(1) })],
] as const)('a message %s is not executed', async ([, change]) => {
  const connection = connectionTo(host.fixture, 'http', {
    securityContext: async () => {
      const inner = new NtlmContext(ntlmOptions);
      return new Broken(inner, { seal: (message) => change(inner.seal(message)) });
    },
  });
  await errorOf(connection.request(identifyMessage()));
  expect((await host.fixture.stats()).requests).toEqual([]);
});
type Sealed = ReturnType<SecurityContext['seal']>;

winrmTest('a message that was sealed once is not executed twice', async () => {
  let first: Sealed | undefined;
  const connection = connectionTo(host.fixture, 'http', {
    securityContext: async () => {
      const inner = new NtlmContext(ntlmOptions);
      return new Broken(inner, {
        seal: (message) => {
          first ??= inner.seal(message);
          return first;
        },
      });
    },
  });
  await connection.request(identifyMessage());
  await errorOf(connection.request(identifyMessage()));
  expect((await host.fixture.stats()).requests).toEqual(['Identify']);
});

winrmTest('an unsealed message is refused by a host that wants it sealed', async () => {
  const { port } = optionsFor(host.fixture, 'http');
  const options = optionsFor(host.fixture, 'http');
  const agent = new OneSocketAgent(() =>
    dial({
      ...options,
      tls: undefined,
      connectTimeoutMs: 5_000,
      totalTimeoutMs: 5_000,
      signal: undefined,
    }),
  );
  const reply = await exchange({
    agent,
    host: host.fixture.host,
    port,
    path: '/wsman',
    headers: { 'Content-Type': 'application/soap+xml' },
    body: Buffer.from(identifyMessage()),
    timeoutMs: 10_000,
    maxReplyBytes: 1_000,
    signal: undefined,
  });
  agent.destroy();
  expect(reply.status).toBe(401);
  expect((await host.fixture.stats()).requests).toEqual([]);
});

// ---- invalid replies

winrmTest.for([
  ['was changed on its way', 'tampered', 'protocol'],
  ['has another checksum', 'bad_signature', 'protocol'],
  ['says a wrong length', 'wrong_length', 'protocol'],
  ['is not sealed', 'unsealed', 'protocol'],
  ['is no XML', 'latin', 'protocol'],
  ['has a document type', 'bomb', 'protocol'],
  ['is nested without end', 'deep', 'protocol'],
  ['has too many elements', 'many', 'protocol'],
] as const)('a reply that %s is refused', async ([, what, kind]) => {
  const connection = connectionTo(host.fixture, 'http');
  await connection.request(identifyMessage());
  await host.fixture.mishap({ moment: 'after', what });
  const error = await errorOf(connection.request(identifyMessage()).then(readReply));
  expect(error.kind).toBe(kind);
  // The next one succeeds.
  readReply(await connection.request(identifyMessage()));
});

winrmTest('a reply that was sent before is refused', async () => {
  const connection = connectionTo(host.fixture, 'http');
  await connection.request(identifyMessage());
  await host.fixture.mishap({ moment: 'after', what: 'replayed' });
  expect(await errorOf(connection.request(identifyMessage()))).toMatchObject({ kind: 'protocol' });
});

winrmTest.for([
  ['html', 'protocol'],
  ['redirect', 'not_winrm'],
  ['404', 'not_winrm'],
  ['407', 'not_winrm'],
  ['413', 'too_large'],
  ['403', 'not_authorized'],
  ['503', 'unreachable'],
  ['empty500', 'unencrypted_refused'],
  ['endless', 'protocol'],
  ['headers', 'ambiguous'],
  ['short', 'ambiguous'],
  ['drop', 'ambiguous'],
] as const)('a host that answers with %s is reported', async ([what, kind]) => {
  for (const [listener, moment] of [
    ['https', 'before'],
    ['http', 'http'],
  ] as const) {
    await host.fixture.mishap({ moment, what });
    const error = await errorOf(connectionTo(host.fixture, listener).request(identifyMessage()));
    expect(error.kind).toBe(kind);
    expect(error.advice).not.toBe('');
  }
});

winrmTest('a host that does not answer is given up', async () => {
  await host.fixture.mishap({ what: 'hang' });
  const connection = connectionTo(host.fixture, 'http');
  expect(await errorOf(connection.request(identifyMessage(), { timeoutMs: 300 }))).toMatchObject({
    kind: 'no_answer',
  });
});

winrmTest('a request larger than an envelope is not sent', async () => {
  const connection = connectionTo(host.fixture, 'http');
  const error = await errorOf(connection.request('x'.repeat(200_000)));
  expect(error).toMatchObject({ kind: 'too_large', notExecuted: true });
});

winrmTest(
  'a host that accepts only smaller messages than it should gives no reason; the error names its limit',
  async () => {
    await host.fixture.reset({ maxEnvelope: 100 * 1_024, maxPollSeconds: 0.2 });
    for (const listener of ['http', 'https'] as const) {
      const { end } = await runOn(host.fixture, 'cat; sleep 1000', {
        listener,
        input: Buffer.alloc(100_000),
      });
      expect(end).toMatchObject({ how: 'lost', error: { kind: 'too_large', notExecuted: false } });
      expect(end).toHaveProperty('error.advice', expect.stringContaining('MaxEnvelopeSizekb="500"'));
      expect((await host.fixture.stats()).shells).toBe(0);
    }
    await host.fixture.reset({ maxEnvelope: 512_000, maxPollSeconds: 60 });
  },
);

winrmTest.for(['spaced', 'openEnded'])('boundaries that only some hosts write, %s, are read', async (how) => {
  await host.fixture.reset({ [how]: true });
  const { end } = await runOn(host.fixture, 'exit 6');
  expect(end).toMatchObject({ how: 'exited', exitCode: 6 });
  await host.fixture.reset({ [how]: false });
});
