import { randomUUID } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { RunSealingKeys, SecretParameters } from '@opsconductor/protocol';
import {
  encodeBase64,
  fingerprint,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
  type KeyPair,
  openRunValue,
  signRoster,
} from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { withoutProxy } from '../connection/proxy.ts';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { readApiToken, readSecrets } from './read-given.ts';
import { type StartRun, startRun } from './start-run.ts';

const installationId = 'installation-1';
const jobId = 12;

interface Segment {
  id: number;
  root: KeyPair;
  key: KeyPair;
  rosterNumber: number;
}

async function segmentOf(id: number): Promise<Segment> {
  return {
    id,
    root: await generateSigningKeyPair(),
    key: await generateEncryptionKeyPair(),
    rosterNumber: 3,
  };
}

async function keyOf({ id, root, key, rosterNumber }: Segment): Promise<RunSealingKeys['segments'][number]> {
  const publicKey = encodeBase64(key.publicKey);
  const roster = await signRoster(root.privateKey, {
    installationId,
    segmentId: id,
    number: rosterNumber,
    agents: [],
    segmentKeys: [{ generation: 1, publicKey }],
    currentGeneration: 1,
    revoked: [],
  });
  const rootPublicKey = encodeBase64(root.publicKey);
  return {
    installationId,
    segmentId: id,
    segmentName: `dmz-${id}`,
    generation: 1,
    publicKey,
    rootPublicKey,
    roster,
  };
}

interface Asked {
  path: string;
  headers: IncomingMessage['headers'];
  text: string;
}
/** Sent instead of the reply to a start. */
type Instead = 'hang up' | { status: number; body: unknown };

async function setup() {
  const directory = await temporaryDirectory();
  const segments = [await segmentOf(1), await segmentOf(2)];
  const asked: Asked[] = [];
  const pauses: number[] = [];
  const instead: Instead[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const path = request.url ?? '';
    asked.push({ path, headers: request.headers, text: await text(request) });
    const other = path.endsWith('/run') ? instead.shift() : undefined;
    if (other === 'hang up') {
      request.socket.destroy();
      return;
    }
    const body = path.endsWith('/run')
      ? { id: 41, status: 'queued' }
      : { installationId, jobId, segments: await Promise.all(segments.map(keyOf)) };
    response.writeHead(other?.status ?? 200, { 'content-type': 'application/json', 'retry-after': '7' });
    response.end(JSON.stringify(other?.body ?? body));
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const start = (more: Partial<StartRun> = {}) =>
    startRun(
      {
        server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        proxy: withoutProxy,
        token: 'oct_test',
        jobId,
        request: {
          selector: 'env=prod',
          version: 'stable',
          parameters: { version: '2.4.1' },
          reason: 'a test',
        },
        secrets: {},
        learnRoots: false,
        ...more,
      },
      async (ms) => pauses.push(ms),
    );
  return {
    segments,
    asked,
    instead,
    pauses,
    start,
    file: (name: string) => join(directory.path, name),
    started: () => asked.filter(({ path }) => path.endsWith('/run')),
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
      await directory.remove();
    },
  };
}

/** Opened as the agents of a segment do. */
async function opened(sealed: SecretParameters, name: string, segment: Segment): Promise<string> {
  const one = sealed.values[name]?.find(({ segmentId }) => segmentId === segment.id);
  if (one === undefined) throw new Error(`not sealed to ${segment.id}`);
  const { id } = sealed;
  return openRunValue({
    segmentPrivateKey: segment.key.privateKey,
    binding: { installationId, jobId, id, step: '', name, segmentId: segment.id, generation: 1 },
    sealed: one.sealed,
  });
}

test('secrets reach the server sealed to each segment, with the rest of the request', async () => {
  await using t = await setup();
  const secret = `s3cr3t-${randomUUID()}`;
  expect(await t.start({ secrets: { token: secret, other: '' } })).toEqual({ id: 41, status: 'queued' });
  const [keys, started] = t.asked;
  expect(keys).toMatchObject({ path: '/api/v1/jobs/12/sealing-keys' });
  expect(JSON.parse(keys?.text ?? '')).toEqual({ selector: 'env=prod', version: 'stable' });
  expect(started?.headers.authorization).toBe('Bearer oct_test');
  const { secretParameters, ...rest } = JSON.parse(started?.text ?? '');
  expect(rest).toEqual({
    selector: 'env=prod',
    version: 'stable',
    parameters: { version: '2.4.1' },
    reason: 'a test',
  });
  for (const segment of t.segments) {
    expect(await opened(secretParameters, 'token', segment)).toBe(secret);
    expect(await opened(secretParameters, 'other', segment)).toBe('');
  }
  expect(JSON.stringify(t.asked)).not.toContain(secret);
});

test('without secrets no keys are asked for', async () => {
  await using t = await setup();
  await t.start();
  expect(t.asked.map(({ path }) => path)).toEqual(['/api/v1/jobs/12/run']);
});

test('a start whose reply is lost is requested again with the same key and the same seals', async () => {
  await using t = await setup();
  t.instead.push('hang up', { status: 503, body: {} });
  expect(await t.start({ secrets: { token: 'x' } })).toMatchObject({ id: 41 });
  const starts = t.started();
  expect(starts).toHaveLength(3);
  expect(new Set(starts.map(({ headers }) => headers['idempotency-key'])).size).toBe(1);
  expect(new Set(starts.map(({ text: body }) => body)).size).toBe(1);
  expect(t.pauses).toEqual([1_000, 7_000]);
});

test('the error lists each place that the server refuses', async () => {
  await using t = await setup();
  const details = [
    { path: 'parameters.version', message: 'Is missing.', allowed: 'text' },
    { path: 'parameters.x', message: 'There is no parameter x.' },
  ];
  t.instead.push({ status: 400, body: { error: { code: 'invalid', message: 'Two are wrong.', details } } });
  await expect(t.start()).rejects.toThrow(
    /The server refused: Two are wrong\.\n +parameters\.version Is missing\. Allowed: text\.\n +parameters\.x There is no/,
  );
});

test('a secret that is also among the parameters is not sent', async () => {
  await using t = await setup();
  await expect(t.start({ secrets: { version: 'x' } })).rejects.toThrow(
    /version is in the file of --secrets and/,
  );
  await expect(t.start({ secrets: { token: 'x' }, request: { secretParameters: {} } })).rejects.toThrow(
    /already has secretParameters/,
  );
  expect(t.asked).toEqual([]);
});

test('with a file of roots nothing is sealed to a root that is not in it, nor to a key of an older roster', async () => {
  await using t = await setup();
  const [first] = t.segments as [Segment, Segment];
  const given = { secrets: { token: 'x' }, roots: t.file('roots.json') };
  await expect(t.start(given)).rejects.toThrow(
    `Segment dmz-1 with the root ${await fingerprint(first.root.publicKey)} is not in`,
  );
  await t.start({ ...given, learnRoots: true });
  await t.start(given);
  expect(JSON.parse(await readFile(given.roots, 'utf8')).segments).toMatchObject([
    { installationId, segmentId: 1, segmentName: 'dmz-1', rosterNumber: 3 },
    { segmentId: 2 },
  ]);
  // A user who may not write the file can use it all the same, while there is nothing new.
  const { ino } = await stat(given.roots);
  await t.start({ ...given, learnRoots: true });
  expect((await stat(given.roots)).ino).toBe(ino);
  await expect(t.start({ ...given, roots: t.file('nowhere/roots.json'), learnRoots: true })).rejects.toThrow(
    /The file of roots can't be written: /,
  );
  const before = t.started().length;
  first.rosterNumber = 2;
  await expect(t.start(given)).rejects.toThrow(
    /Nothing was sealed to segment dmz-1: Roster 2 is older than 3/,
  );
  first.rosterNumber = 4;
  first.root = await generateSigningKeyPair();
  await expect(t.start({ ...given, learnRoots: true })).rejects.toThrow(
    /The root of segment dmz-1 is SHA256:/,
  );
  await writeFile(given.roots, '{}');
  await expect(t.start(given)).rejects.toThrow(/is not a file of roots/);
  await expect(t.start({ learnRoots: true })).rejects.toThrow(/--learn-roots has no file/);
  expect(t.started()).toHaveLength(before);
});

test('nothing is sealed to a key that the roster does not name', async () => {
  await using t = await setup();
  const [, second] = t.segments as [Segment, Segment];
  // Signed by a root other than the one that is shown.
  const key = await keyOf(second);
  const other = await generateSigningKeyPair();
  second.root = { publicKey: other.publicKey, privateKey: second.root.privateKey };
  expect(key.rootPublicKey).not.toBe(encodeBase64(other.publicKey));
  await expect(t.start({ secrets: { token: 'x' } })).rejects.toThrow(/Nothing was sealed to segment dmz-2/);
  expect(t.started()).toEqual([]);
});

test('errors about files of secrets and tokens say what is wrong, without anything of their content', async () => {
  const { path, remove } = await temporaryDirectory();
  const file = join(path, 'given');
  for (const [content, message] of [
    ['["hidden"]', /not a JSON object/],
    ['hidden', /not a JSON object/],
    ['{"token": 7}', /token in the file of --secrets is not a text/],
    ['{"token": "hidden\\u0000"}', /token in the file of --secrets has a NUL/],
  ] as const) {
    await writeFile(file, content);
    const error = await readSecrets(file).catch((one: unknown) => one);
    expect(String(error)).toMatch(message);
    expect(String(error)).not.toContain('hidden');
  }
  await writeFile(file, ' oct_abc-_1 \n');
  expect(await readApiToken(file, undefined)).toBe('oct_abc-_1');
  expect(await readApiToken(undefined, 'oct_abc')).toBe('oct_abc');
  await expect(readApiToken('oct_abc', undefined)).rejects.toThrow(/must not be on the command line/);
  await expect(readApiToken(undefined, 'two words')).rejects.toThrow(/it contains white space/);
  await expect(readApiToken(undefined, '')).rejects.toThrow(/No API token was given/);
  await expect(readApiToken(join(path, 'nowhere'), undefined)).rejects.toThrow(/can't be read/);
  await remove();
});
