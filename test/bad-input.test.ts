// Invalid input is refused with a message that says what to do, and leaves nothing behind.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { EnrollmentTokenReply, ErrorBody, Segment, Target } from '@opsconductor/protocol';
import type { CredentialSecret } from '@opsconductor/protocol/sealing';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Sql } from '../server/src/store/database/connection.ts';
import { setupDatabase } from '../server/src/store/database/testing.ts';
import { ApiClient, type EndedRun } from './support/api-client.ts';
import { storeCredential } from './support/sealed-credential.ts';
import { hostKeyFingerprintOf, type SshdFixture, startSshd } from './support/sshd.ts';
import { setup, type TestSystem } from './support/system.ts';
import { WatchedProcess } from './support/watched-process.ts';

vi.setConfig({ testTimeout: 90_000 });

const repository = resolve(import.meta.dirname, '..');
const agentFile = join(repository, '.cache/build/agent.mjs');
/** Tables that change by themselves, or that record refusals. */
const ownWay = [
  'agent_sessions',
  'api_tokens',
  'audit_checkpoints',
  'audit_leaves',
  'audit_log',
  'audit_nodes',
  'audit_unsealed',
  'cluster_clock',
  'server_master_keys',
  'sessions',
];
/** Columns that differ after an agent reconnects, as may happen on a busy machine. */
const ofConnecting = ['generation', 'generation_acked', 'session_number'];

let t: TestSystem;
beforeAll(async () => {
  t = await setup();
});
afterAll(() => t?.[Symbol.asyncDispose]());

/** Returns a digest of the rows of each table. */
async function stored(sql: Sql): Promise<Record<string, string>> {
  const tables = await sql<{ name: string }[]>`
    select format('%I.%I', table_schema, table_name) as name from information_schema.tables
    where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')
      and not table_name = any(${ownWay})`;
  const found: Record<string, string> = {};
  for (const { name } of tables) {
    const text = name === 'public.agents' ? `(to_jsonb(t) - '{${ofConnecting}}'::text[])::text` : 't::text';
    const [row] = await sql.unsafe(
      `select count(*) || ' ' || coalesce(md5(string_agg(${text}, ',' order by ${text})), '') as rows from ${name} t`,
    );
    found[name] = row?.rows;
  }
  return found;
}

/** Does something that must be refused, and checks that the database is unchanged. */
async function leavingNothing<T>(act: () => Promise<T>, sql = t.sql): Promise<T> {
  const before = await stored(sql);
  expect(Object.keys(before).length).toBeGreaterThan(15);
  const result = await act();
  expect(await stored(sql)).toEqual(before);
  return result;
}

const goodStep = { name: 'say', type: 'ssh.exec', config: { command: 'echo no' } };

describe('a request', () => {
  test('with malformed JSON is refused with the line and column', async () => {
    const text = '{\n  "name": "x",\n  "steps": [}\n}';
    const reply = await leavingNothing(() => t.api.send<ErrorBody>('POST', '/api/v1/jobs', text));
    expect(reply.status).toBe(400);
    expect(reply.body.error).toMatchObject({
      code: 'invalid',
      message: 'The request body is not JSON: line 3, column 13: expected a value, or ].',
      requestId: expect.any(String),
    });
  });

  test('with an unknown step type is refused, naming its place and the known types', async () => {
    const steps = [goodStep, { ...goodStep, name: 'other', type: 'ssh.exce' }];
    const reply = await leavingNothing(() => t.api.post<ErrorBody>('/api/v1/jobs', { name: 'typo', steps }));
    expect(reply.status).toBe(400);
    expect(reply.body.error.details).toEqual([
      expect.objectContaining({ path: 'steps[1].type', found: expect.stringContaining('ssh.exce') }),
    ]);
    expect(JSON.stringify(reply.body.error.details)).toContain('ssh.exec');
  });

  test.each([
    [
      'the definition',
      { name: 5, start_within: 'soon', color: 'red', steps: [{ ...goodStep, name: null }] },
      ['color', 'name', 'start_within', 'steps[0].name'],
    ],
    [
      'a step’s configuration',
      { name: 'x', steps: [{ ...goodStep, config: { command: ['ls'], timeout: 'ten', shell: true } }] },
      ['steps[0].config.command', 'steps[0].config.shell', 'steps[0].config.timeout'],
    ],
  ])('with wrong types in %s is refused with every place at once', async (_where, definition, places) => {
    const reply = await leavingNothing(() => t.api.post<ErrorBody>('/api/v1/jobs', definition));
    expect(reply.status).toBe(400);
    expect(reply.body.error.details?.map((detail) => detail.path).sort()).toEqual(places);
  });

  test('with a definition of 10 MB is refused because of its size, and the server keeps running', async () => {
    const command = 'x'.repeat(10 * 1024 * 1024);
    const definition = { name: 'big', steps: [{ ...goodStep, config: { command } }] };
    const reply = await leavingNothing(() => t.api.post<ErrorBody>('/api/v1/jobs', definition));
    expect(reply.status).toBe(413);
    expect(reply.body.error).toMatchObject({
      code: 'too_large',
      message: 'The request body is larger than the 1048576 bytes that are allowed here.',
    });
    expect((await t.api.get('/api/v1/me')).status).toBe(200);
  });

  test('to run on a target that does not exist is refused as a whole', async () => {
    const job = await makeJob('missing target');
    const reply = await leavingNothing(() =>
      t.api.post<ErrorBody>(`/api/v1/jobs/${job}/run`, { targetIds: [t.targetId, 999_999] }),
    );
    expect(reply.status).toBe(404);
    expect(reply.body.error).toMatchObject({
      message: 'Target 999999 not found.',
      details: [{ path: 'targetIds[1]', found: '999999' }],
    });
  });

  test('to run in a segment that never had an agent is refused, naming the segment', async () => {
    const job = await makeJob('no agent');
    const segment = await t.api.made<Segment>('/api/v1/segments', { name: 'empty' });
    const fields = { segmentId: segment.id, name: 'lonely', host: '127.0.0.1' };
    const target = await t.api.made<Target>('/api/v1/targets', fields);
    const reply = await leavingNothing(() =>
      t.api.post<ErrorBody>(`/api/v1/jobs/${job}/run`, { targetIds: [target.id] }),
    );
    expect(reply.status).toBe(400);
    expect(reply.body.error.message).toBe(
      'Segment “empty” of target “lonely” never had an agent: add one first.',
    );
  });
});

describe('an enrollment', () => {
  const invite = (segmentId: number, api = t.api) =>
    api.made<EnrollmentTokenReply>(`/api/v1/segments/${segmentId}/enrollment-tokens`);

  async function temporary() {
    const folder = await mkdtemp(join(tmpdir(), 'opsconductor-enroll-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    return folder;
  }

  async function enroll(token: string, url: string, more: string[] = []) {
    const folder = await temporary();
    const args = ['enroll', '--server', url, '--token-file', '-', '--data', join(folder, 'agent'), ...more];
    const agent = new WatchedProcess({
      command: [process.execPath, agentFile, ...args],
      cwd: repository,
      input: `${token}\n`,
    });
    return { code: await agent.ended(), output: agent.output };
  }

  test('with an expired token is refused', async () => {
    const { id, token } = await invite(t.segmentId);
    await t.sql`update enrollment_tokens set expires_at = now() - interval '1 second' where id = ${id}`;
    const refused = await leavingNothing(() => enroll(token, t.api.url, ['--name', 'late']));
    expect(refused.code).toBe(1);
    expect(refused.output).toContain(
      'This enrollment token has expired. Make a new one on the segment’s page.',
    );
    expect(refused.output).not.toContain(token);
  });

  test('with a token that another agent used is refused', async () => {
    // In a segment of its own: elsewhere a peer would legitimately give it the segment key, which is a change.
    const { id } = await t.api.made<Segment>('/api/v1/segments', { name: 'used-up' });
    const { token } = await invite(id);
    expect((await enroll(token, t.api.url, ['--name', 'first'])).code).toBe(0);
    const refused = await leavingNothing(() => enroll(token, t.api.url, ['--name', 'second']));
    expect(refused.code).toBe(1);
    expect(refused.output).toContain('This enrollment token was used already. Each is good for one agent');
  });

  test('that has used up the token in a file says so, and leaves the file', async () => {
    const { id } = await t.api.made<Segment>('/api/v1/segments', { name: 'from-file' });
    const { token } = await invite(id);
    const file = join(await temporary(), 'enrollment-token');
    await writeFile(file, `${token}\n`);
    const { code, output } = await enroll('', t.api.url, ['--token-file', file, '--name', 'from-file']);
    expect([code, output]).toEqual([0, expect.stringContaining(`The token in ${file} is used up`)]);
    expect(await readFile(file, 'utf8')).toBe(`${token}\n`);
  });

  test('at a server with another CA pin is refused before the token is sent', async () => {
    const other = await startTlsServer();
    const { id } = await other.api.made<Segment>('/api/v1/segments', { name: 'tls' });
    const { token } = await invite(id, other.api);
    const wrong = `sha256:${createHash('sha256').update('another').digest('hex')}`;
    const refused = await leavingNothing(() => enroll(token, other.url, ['--ca-pin', wrong]), other.sql);
    expect(refused.code).toBe(1);
    expect(refused.output).toContain(
      `is not the server that the --ca-pin names: its CA has pin ${other.pin}`,
    );
    expect(refused.output).toContain(wrong);
    expect(other.server.output).not.toContain('/api/v1/agent/enroll');
    expect((await enroll(token, other.url, ['--ca-pin', other.pin])).code).toBe(0);
  });

  async function startTlsServer() {
    const database = await setupDatabase();
    const folder = await mkdtemp(join(tmpdir(), 'opsconductor-tls-'));
    const token = 'a-token-of-this-test-'.padEnd(40, 'x');
    const build = await import(join(repository, 'scripts/build.mjs'));
    await (build as { buildServerIfChanged(): Promise<void> }).buildServerIfChanged();
    const main = join(repository, '.cache/build/server.mjs');
    const args = ['--tls', '--no-demo', '--port', '0', '--data', join(folder, 'data')];
    const server = new WatchedProcess({
      command: [process.execPath, main, ...args],
      cwd: repository,
      env: { DATABASE_URL: database.url, OPSCONDUCTOR_BOOTSTRAP_TOKEN: token },
    });
    onTestFinished(async () => {
      await server.killAll();
      await database.close();
      await rm(folder, { recursive: true, force: true });
    });
    const [, url = ''] = await server.says(/OpsConductor is at (https:\S+)/);
    const [, pin = ''] = await server.says(/Certificate authority pin: (\S+)/);
    const ca = await readFile(join(folder, 'data/tls/ca.pem'), 'utf8');
    return { server, url, pin, sql: database.sql, api: new ApiClient({ url, token, ca }) };
  }
});

describe('a run', () => {
  test('on a host with another host key starts nothing, and names both keys', async () => {
    const accepted = await acceptedFingerprint();
    await t.sshd.stop();
    const impostor = await startSshd({ address: t.sshd.host, port: t.sshd.port });
    onTestFinished(async () => {
      await impostor.stop();
      await t.sshd.restart();
    });
    const offered = hostKeyFingerprintOf(impostor.hostKeyLine);
    const ended = await runOn(t.targetId, 'impostor');
    expect(ended).toMatchObject({
      status: 'failed',
      steps: [{ status: 'failed', reason: 'host_key_mismatch' }],
    });
    expect(ended.steps[0]?.errorMessage).toContain(`presented the host key ${offered}`);
    expect(ended.steps[0]?.errorMessage).toContain(`but ${accepted}`);
    expect(impostor.log()).not.toMatch(/Accepted|Failed (publickey|password)/);
    expect(ended.output).toEqual(['']);
  });

  test('with a wrong password fails for that reason, and the password appears nowhere', async () => {
    const sshd = await startSshd({ login: ['password'] });
    onTestFinished(() => sshd.stop());
    const password = 'wrong-password-of-this-test';
    const secret = secretFor(sshd, { kind: 'ssh_password', password });
    const target = await makeTarget('locked', sshd, secret);
    const ended = await runOn(target, 'wrong password');
    expect(ended).toMatchObject({ status: 'failed', steps: [{ status: 'failed', reason: 'auth_failed' }] });
    expect(ended.steps[0]?.advice).toContain('Check the user and the password');
    expect(sshd.log()).toContain('Failed password');
    expect(JSON.stringify(ended) + t.server.output + t.agent.output).not.toContain(password);
  });

  test('on a target outside the credential’s bounds never gets to the host', async () => {
    const sshd = await startSshd();
    onTestFinished(() => sshd.stop());
    const secret = secretFor(sshd, { kind: 'ssh_private_key', privateKey: sshd.privateKey });
    secret.bounds.ports = [22];
    const target = await makeTarget('outside', sshd, secret);
    const ended = await runOn(target, 'out of bounds');
    expect(ended).toMatchObject({
      status: 'failed',
      steps: [{ status: 'failed', reason: 'credential_bounds' }],
    });
    expect(ended.steps[0]?.errorMessage).toBe(
      `The credential may not be used for port ${sshd.port}; its bounds allow 22.`,
    );
    expect(sshd.log()).not.toContain('Connection');
  });

  test('on a host that can’t be reached says whether name or port is to blame', async () => {
    const [nobody, port] = await closedPort();
    const refused = await makeTarget(
      'closed',
      nobody,
      secretFor(nobody, { kind: 'ssh_password', password: 'x' }),
    );
    const noPort = await runOn(refused, 'closed port');
    expect(noPort).toMatchObject({ status: 'failed', steps: [{ reason: 'connection_refused' }] });
    expect(noPort.steps[0]?.errorMessage).toBe(
      `Nothing listens at 127.0.0.1 port ${port}: the connection was refused.`,
    );
    const unknown = { ...nobody, host: 'no-such-host.invalid' };
    const noName = await makeTarget(
      'nameless',
      unknown,
      secretFor(unknown, { kind: 'ssh_password', password: 'x' }),
    );
    const ended = await runOn(noName, 'no name');
    expect(ended).toMatchObject({ status: 'failed', steps: [{ reason: 'name_not_found' }] });
    expect(ended.steps[0]?.errorMessage).toContain('The name no-such-host.invalid could not be resolved');
  });
});

async function makeJob(name: string, command = 'echo no'): Promise<number> {
  const steps = [{ ...goodStep, config: { command, timeout: 20 } }];
  return (await t.api.made<{ id: number }>('/api/v1/jobs', { name, steps })).id;
}

async function runOn(targetId: number, name: string): Promise<EndedRun> {
  return t.api.run(await makeJob(name), [targetId]);
}

type Place = Pick<SshdFixture, 'host' | 'port' | 'user'> & { hostKeyLine?: string };
type Opener = { kind: 'ssh_password'; password: string } | { kind: 'ssh_private_key'; privateKey: string };

function secretFor({ host, port, user }: Place, opener: Opener): CredentialSecret {
  const authentication: CredentialSecret['bounds']['authentication'] =
    opener.kind === 'ssh_password' ? ['password', 'keyboard-interactive'] : ['publickey'];
  const bounds = {
    hosts: [host],
    networks: [],
    ports: [port],
    protocols: ['ssh' as const],
    user,
    authentication,
  };
  return { ...opener, user, bounds };
}

async function makeTarget(name: string, place: Place, secret: CredentialSecret): Promise<number> {
  const credentialId = await storeCredential(t.api, t.segmentId, `for ${name}`, secret);
  const known =
    place.hostKeyLine === undefined ? {} : { hostKeyFingerprint: hostKeyFingerprintOf(place.hostKeyLine) };
  const fields = { segmentId: t.segmentId, name, host: place.host, port: place.port, credentialId, ...known };
  return (await t.api.made<Target>('/api/v1/targets', fields)).id;
}

/** The fingerprint of the system's target, known to the server after a run. */
async function acceptedFingerprint(): Promise<string> {
  expect((await runOn(t.targetId, 'before')).status).toBe('succeeded');
  const { body } = await t.api.get<Target>(`/api/v1/targets/${t.targetId}`);
  const key = body.hostKeys.find(({ state }) => state === 'accepted');
  expect(key?.fingerprint).toBe(hostKeyFingerprintOf(t.sshd.hostKeyLine));
  return hostKeyFingerprintOf(t.sshd.hostKeyLine);
}

/** A port that was free a moment ago. */
async function closedPort(): Promise<[place: Place, port: number]> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return [{ host: '127.0.0.1', port, user: t.sshd.user }, port];
}
