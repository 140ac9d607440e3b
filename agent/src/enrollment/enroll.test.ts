import { createHash, X509Certificate } from 'node:crypto';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import {
  type EnrollRequest,
  EnrollRequestSchema,
  type EnrollResponse,
  formatEnrollmentToken,
  type SegmentKeyRequest,
  SegmentKeyRequestSchema,
} from '@opsconductor/protocol';
import {
  decodeBase64,
  encodeBase64,
  enrollmentStatement,
  generateSigningKeyPair,
  segmentKeyStatement,
  signGeneration,
  unwrapSegmentKey,
  verifyBase64,
} from '@opsconductor/protocol/sealing';
import { pino } from 'pino';
import { Check } from 'typebox/value';
import { expect, test } from 'vitest';
import { AgentError } from '../agent-error.ts';
import { withoutProxy } from '../connection/proxy.ts';
import { dataDirectory } from '../identity/data-directory.ts';
import { readIdentity, readKey } from '../identity/identity.ts';
import { makeCertificates } from '../testing/certificates.ts';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { type EnrollOptions, enroll } from './enroll.ts';
import { pinOf } from './server-certificate.ts';

const installationId = 'installation-1';

interface Options {
  /** Plain HTTP instead of TLS. */
  plain?: boolean;
  certificateFor?: string;
  makesSegmentKey?: boolean;
  /** Sent once instead of the enrollment reply. */
  fail?: { status: number; body: unknown } | 'hang up';
}

async function setup(options: Options = {}) {
  const { path, remove } = await temporaryDirectory();
  await mkdir(join(path, 'tls'));
  const certificates = await makeCertificates(join(path, 'tls'), options.certificateFor ?? 'IP:127.0.0.1');
  const serverKey = await generateSigningKeyPair();
  const root = await generateSigningKeyPair();
  const state = {
    fail: options.fail,
    makesSegmentKey: options.makesSegmentKey ?? true,
    rootKey: root.publicKey,
  };
  const enrollments: EnrollRequest[] = [];
  const offers: SegmentKeyRequest[] = [];
  const reply = async (): Promise<EnrollResponse> => ({
    agentId: 5,
    agentName: 'agent-five',
    segmentId: 3,
    segmentName: 'dmz',
    installationId,
    serverKey: encodeBase64(serverKey.publicKey),
    segmentRoot: encodeBase64(state.rootKey),
    generation: 0,
    generationSignature: await signGeneration(serverKey.privateKey, {
      installationId,
      agentId: 5,
      generation: 0,
    }),
    makesSegmentKey: state.makesSegmentKey,
  });
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const body: unknown = JSON.parse(await text(request));
    const answer = (status: number, value: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    if (request.url === '/api/v1/agent/segment-key') {
      if (Check(SegmentKeyRequestSchema, body)) offers.push(body);
      answer(200, { accepted: true });
      return;
    }
    if (Check(EnrollRequestSchema, body)) enrollments.push(body);
    const { fail } = state;
    state.fail = undefined;
    if (fail === 'hang up') request.socket.destroy();
    else if (fail !== undefined) answer(fail.status, fail.body);
    else answer(200, await reply());
  };
  const server = options.plain
    ? createHttp(handle)
    : createHttps({ key: certificates.key, cert: certificates.chain }, handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const caPin = pinOf(new X509Certificate(certificates.caPem));
  const token = formatEnrollmentToken({
    secret: 's'.repeat(43),
    rootSha256: createHash('sha256').update(root.publicKey).digest('hex'),
    ...(options.plain ? {} : { caPin }),
  });
  const dataDir = join(path, 'data');
  const url = `${options.plain ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const enrollWith = (more: Partial<EnrollOptions> = {}) =>
    enroll({
      server: url,
      token,
      name: 'agent-five',
      dataDir,
      force: false,
      proxy: withoutProxy,
      log: pino({ level: 'silent' }),
      ...more,
    });
  return {
    certificates,
    caPin,
    token,
    url,
    state,
    enrollments,
    offers,
    data: dataDirectory(dataDir),
    enroll: enrollWith,
    /** The error that enrolling ends with, as shown to a person. */
    async refusal(more: Partial<EnrollOptions> = {}): Promise<AgentError> {
      const error = await enrollWith(more).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (error instanceof AgentError) return error;
      throw error ?? new Error('it was not refused');
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await remove();
    },
  };
}

test('enrolling with a token gives an identity whose keys the server can verify', async () => {
  await using t = await setup();
  await t.enroll();
  const identity = await readIdentity(t.data);
  expect(identity).toMatchObject({ server: t.url, agentId: 5, agentName: 'agent-five', segmentId: 3 });
  const [request] = t.enrollments;
  const signingKey = decodeBase64(request?.signingKey ?? '');
  const encryptionKey = decodeBase64(request?.encryptionKey ?? '');
  expect(identity.signingPublicKey).toEqual(signingKey);
  const statement = enrollmentStatement({ token: t.token, name: 'agent-five', signingKey, encryptionKey });
  expect(await verifyBase64(signingKey, statement, request?.signature ?? '')).toBe(true);
  expect(identity.ca).toBe(t.certificates.caPem);
});

test('the first agent makes the segment key, keeps it and offers its public half with a wrap for itself', async () => {
  await using t = await setup();
  await t.enroll();
  const identity = await readIdentity(t.data);
  const [offer] = t.offers;
  const segmentPublicKey = decodeBase64(offer?.segmentPublicKey ?? '');
  const binding = { installationId, segmentId: 3, generation: 1, recipient: 5, segmentPublicKey };
  const key = await unwrapSegmentKey({
    recipientPrivateKey: identity.encryptionPrivateKey,
    wrapped: offer?.wrapped ?? '',
    binding,
  });
  expect(key).toEqual(await readKey(join(t.data.segmentKeys, '1.key')));
  const statement = segmentKeyStatement({
    installationId,
    segmentId: 3,
    agentId: 5,
    generation: 1,
    segmentPublicKey,
    wrapped: offer?.wrapped ?? '',
  });
  expect(await verifyBase64(identity.signingPublicKey, statement, offer?.signature ?? '')).toBe(true);
});

test('a later agent makes no segment key', async () => {
  await using t = await setup({ makesSegmentKey: false });
  await t.enroll();
  expect(t.offers).toEqual([]);
});

test('only the owner can read the key files', async () => {
  await using t = await setup();
  await t.enroll();
  const mode = async (path: string) => (await stat(path)).mode & 0o777;
  expect(await mode(t.data.root)).toBe(0o700);
  for (const path of [t.data.signingKey, t.data.encryptionKey, join(t.data.segmentKeys, '1.key')]) {
    expect(await mode(path)).toBe(0o600);
  }
});

test('with a wrong CA pin the error names both pins, and nothing is sent', async () => {
  await using t = await setup();
  const wrong = `sha256:${'0'.repeat(64)}`;
  const { message } = await t.refusal({ caPin: wrong });
  expect(message).toContain(wrong);
  expect(message).toContain(t.caPin);
  expect(t.enrollments).toEqual([]);
});

test('a server that shows the pinned CA next to a certificate that this CA did not issue is sent nothing', async () => {
  await using t = await setup();
  await using other = await setup();
  // The impostor adds the genuine CA's certificate to its own chain.
  const impostor = createHttps({
    key: other.certificates.key,
    cert: `${other.certificates.chain.split('-----END CERTIFICATE-----')[0]}-----END CERTIFICATE-----\n${t.certificates.caPem}`,
  });
  let requests = 0;
  impostor.on('request', () => requests++);
  await new Promise<void>((resolve) => impostor.listen(0, '127.0.0.1', resolve));
  const error = await t.refusal({ server: `https://127.0.0.1:${(impostor.address() as AddressInfo).port}` });
  expect(error.message).toMatch(/does not trust|its CA has pin|did not sign|issuer/);
  expect(requests).toBe(0);
  impostor.closeAllConnections();
  await new Promise((resolve) => impostor.close(resolve));
});

test('a certificate for another host name is refused', async () => {
  await using t = await setup({ certificateFor: 'DNS:other.example' });
  expect((await t.refusal()).message).toContain('certificate for another host name');
  expect(t.enrollments).toEqual([]);
});

test('a CA file is trusted instead of the pin', async () => {
  await using t = await setup();
  const token = formatEnrollmentToken({
    secret: 's'.repeat(43),
    rootSha256: createHash('sha256').update(t.state.rootKey).digest('hex'),
    caPin: `sha256:${'0'.repeat(64)}`,
  });
  await t.enroll({ token, caFile: t.certificates.caPath });
  expect((await readIdentity(t.data)).ca).toBe(t.certificates.caPem);
});

test('a CA file that is not the pinned CA is refused', async () => {
  await using t = await setup();
  const error = await t.refusal({ caFile: t.certificates.caPath, caPin: `sha256:${'0'.repeat(64)}` });
  expect(error.message).toContain('does not hold the CA');
});

test('a segment root that is not the one in the token is refused, and no segment key is made', async () => {
  await using t = await setup();
  t.state.rootKey = (await generateSigningKeyPair()).publicKey;
  expect((await t.refusal()).message).toContain('another segment root');
  expect(t.offers).toEqual([]);
  await expect(readFile(t.data.identity)).rejects.toThrow('ENOENT');
});

test('an enrollment that was cut off is repeated with the same keys', async () => {
  await using t = await setup({ fail: 'hang up' });
  await t.refusal();
  await t.enroll();
  const [first, second] = t.enrollments;
  expect(second).toEqual(first);
});

test('another token gets other keys', async () => {
  await using t = await setup({ fail: 'hang up' });
  await t.refusal();
  await t.enroll({ token: t.token.replace('s'.repeat(43), 'r'.repeat(43)) });
  expect(t.enrollments[1]?.signingKey).not.toBe(t.enrollments[0]?.signingKey);
});

test('the server’s message about a refused token is shown, with what to do', async () => {
  const body = { error: { code: 'unauthenticated', message: 'This token has expired.', requestId: 'r' } };
  await using t = await setup({ fail: { status: 401, body } });
  const error = await t.refusal();
  expect(error.message).toContain('This token has expired.');
  expect(error.fix).toContain('Make a new token');
});

test('a name that is taken or not allowed is reported with what to do, and the token stays valid', async () => {
  const taken = {
    message: 'There is an agent named a already.',
    details: [{ path: 'name', message: 'Taken.' }],
  };
  await using t = await setup({ fail: { status: 409, body: { error: taken } } });
  const first = await t.refusal();
  expect(first.fix).toBe('Run the command again with the same token and another --name.');
  const allowed = 'a string of 1 to 63 characters';
  const wrong = { message: 'name: Is wrong.', details: [{ path: 'name', message: 'Is wrong.', allowed }] };
  await using other = await setup({ fail: { status: 400, body: { error: wrong } } });
  const refused = `The server refused: name: Is wrong. Allowed: ${allowed}.`;
  expect((await other.refusal()).message).toBe(refused);
  const whole = { ...wrong, message: `name: Is wrong. Allowed: ${allowed}.` };
  await using third = await setup({ fail: { status: 400, body: { error: whole } } });
  expect((await third.refusal()).message).toBe(refused);
});

test('for a token that was already used, the error does not blame the name', async () => {
  const body = { error: { code: 'conflict', message: 'This enrollment token was used already.' } };
  await using t = await setup({ fail: { status: 409, body } });
  expect((await t.refusal()).fix).not.toContain('--name');
});

test('an enrolled machine is not enrolled again without force', async () => {
  await using t = await setup();
  await t.enroll();
  expect((await t.refusal()).message).toContain('already enrolled');
  const before = await readIdentity(t.data);
  await t.enroll({ force: true });
  expect((await readIdentity(t.data)).signingPublicKey).not.toEqual(before.signingPublicKey);
});

test('plain HTTP is used only to this machine', async () => {
  await using t = await setup({ plain: true });
  await t.enroll();
  expect((await readIdentity(t.data)).ca).toBeUndefined();
  expect((await t.refusal({ server: 'http://ops.example.com' })).message).toContain('its own machine only');
});

test('naming a CA is refused for plain HTTP, where the server shows no certificate', async () => {
  await using t = await setup({ plain: true });
  const byPin = await t.refusal({ caPin: `sha256:${'0'.repeat(64)}` });
  expect(`${byPin.message} ${byPin.fix}`).toMatch(/--ca-pin .*plain HTTP.*https:\/\//);
  expect((await t.refusal({ caFile: t.certificates.caPath })).message).toContain('--ca-file');
  expect(t.enrollments).toEqual([]);
});

test.each([
  ['a server that does not listen', 'https://127.0.0.1:1', 'refused the connection'],
  ['a server that has no address', 'https://no-such-host.invalid', 'name service'],
  ['an address without a scheme', 'ops.example.com', 'not the address of a server'],
])('the error says when it is %s', async (_, server, message) => {
  await using t = await setup();
  expect((await t.refusal({ server })).message).toContain(message);
});

test('anything that is not a token is refused before anything is sent', async () => {
  await using t = await setup();
  expect((await t.refusal({ token: 'oce_short' })).message).toContain('not an enrollment token');
});

test('both the look at the certificate and the enrollment go through the proxy', async () => {
  await using t = await setup();
  const tunnels: string[] = [];
  const proxy = createHttp();
  const sockets = new Set<Socket>();
  proxy.on('connect', (request, client: Socket) => {
    tunnels.push(`${request.url} ${request.headers['proxy-authorization']}`);
    // Loopback is never proxied, so the name stands for a machine that only the proxy can reach.
    const upstream = connect(Number(new URL(t.url).port), '127.0.0.1', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      client.pipe(upstream).pipe(client);
    });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const httpsProxy = `http://user:secret@127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const server = 'https://10.255.255.1';
  const error = await t.refusal({ server, proxy: { httpsProxy, noProxy: undefined } });
  expect(error.message).toContain('certificate for another host name');
  const authorization = `Basic ${Buffer.from('user:secret').toString('base64')}`;
  expect(tunnels).toEqual([`10.255.255.1:443 ${authorization}`, `10.255.255.1:443 ${authorization}`]);
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => proxy.close(resolve));
});
