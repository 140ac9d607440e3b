// The leak hunt: 200 secrets go through steps that fail and succeed, and afterwards are searched for everywhere. The
// theft drill: what a database dump reveals, alone and with the server's disk. And what the owner of an agent's machine
// forbids.
import { randomUUID } from 'node:crypto';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Agent, AgentDetail, Credential, RunDetail, Segment, TestResult } from '@opsconductor/protocol';
import { openRunValue, type SealedEnvelope, SealingError } from '@opsconductor/protocol/sealing';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { newKeys } from '../agent/src/commands/new-keys.ts';
import { readKey } from '../agent/src/identity/identity.ts';
import { canaries } from '../agent/src/masking/testing/canaries.ts';
import { SecretHunter } from '../agent/src/masking/testing/secret-hunter.ts';
import { signRun } from '../agent/src/owner/grants/sign-run.ts';
import { makeKeyFile } from '../agent/src/owner/keys/key-file.ts';
import { unwrapDataKey } from '../server/src/credentials/at-rest/data-key.ts';
import { filesIn, leakPlaces, masterKeyOf } from './support/leak-places.ts';
import { dumpRows, openAllAtRest } from './support/open-at-rest.ts';
import { Owner } from './support/owner.ts';
import { ensureStrace } from './support/packages.ts';
import { storeCredential } from './support/sealed-credential.ts';
import { TestAgent } from './support/server-and-agents.ts';
import { fixturePassword, hostKeyFingerprintOf } from './support/sshd.ts';
import { setup, type TestSystem } from './support/system.ts';
import { ExecTrace, pidsWith } from './support/trace-execs.ts';

let t: TestSystem;
let inbox: string;
beforeAll(async () => {
  t = await setup({ account: true, files: true });
  inbox = join(t.sshd.dir, 'inbox');
  await mkdir(inbox);
  await chmod(inbox, 0o777);
  await mkdir(join(t.filesDir, 'site'));
  await writeFile(join(t.filesDir, 'site/page'), 'page');
}, 240_000);
afterAll(() => t?.[Symbol.asyncDispose]());

const always = { when_status: 'always' };

/** Prints the variables S0, S1, … as they are, on both streams, and all of them in base64 and in hex. */
const printAll = (
  count: number,
) => `all() { n=0; while [ $n -lt ${count} ]; do eval "printf '%s\\\\n' \\"\\$S$n\\""; n=$((n + 1)); done; }
all; all >&2; all | base64; all | od -An -v -tx1 | tr -d ' \\n'; echo`;

const printOne = 'echo "${{ parameters.s0 }}"; echo "${{ parameters.s0 }}" >&2';

/**
 * Step types that accept secrets, with a secret wherever one is allowed, including paths that appear in error messages.
 */
function stepsWith(count: number): object[] {
  const environment = Object.fromEntries(
    Array.from({ length: count }, (_, n) => [`S${n}`, `\${{ parameters.s${n} }}`]),
  );
  const exec = (config: object, rules: object = always) => ({ type: 'ssh.exec', config, ...rules });
  const copy = (type: string, config: object) => ({ type, config, ...always });
  const site = `${t.filesDir}/site`;
  return [
    exec({ command: printAll(count), environment }),
    exec({ command: `${printAll(count)}; exit 3`, environment, survive_agent_restart: true }),
    exec({ command: 'true', working_directory: '/nowhere/${{ parameters.s0 }}' }),
    copy('sftp.upload', { local_path: `${site}/page`, remote_path: `${inbox}/\${{ parameters.s0 }}` }),
    copy('sftp.upload', { local_path: `${site}/\${{ parameters.s0 }}`, remote_path: `${inbox}/x` }),
    copy('sftp.download', { remote_path: `${inbox}/none-\${{ parameters.s0 }}`, local_path: `${site}/y` }),
    copy('sftp.sync', { local_path: site, remote_path: `${inbox}/tree-\${{ parameters.s0 }}` }),
    copy('ssh.copy', { local_path: site, remote_path: '/proc/${{ parameters.s0 }}' }),
    copy('wait_for', { command: printOne }),
    copy('wait_for', { command: `${printOne}; false`, interval: 1, timeout: 1 }),
    copy('reboot', { command: `${printOne}; exit 1` }),
    {
      ...exec({ command: 'echo "got=$S0"; echo "hidden=$S0"', environment: { S0: '${{ parameters.s0 }}' } }),
      outputs: { shown: { pattern: 'got=(.*)' }, hidden: { pattern: 'hidden=(.*)', secret: true } },
    },
  ].map((step, at) => ({ name: `step ${at}`, id: `step_${at}`, ...step }));
}

async function runWith(secrets: readonly string[], isSecret: boolean) {
  const names = secrets.map((_, n) => `s${n}`);
  const { id: jobId } = await t.api.made<{ id: number }>('/api/v1/jobs', {
    name: `job ${randomUUID()}`,
    parameters: Object.fromEntries(names.map((name) => [name, { type: 'string', secret: isSecret }])),
    steps: stepsWith(secrets.length),
  });
  const run = await t.api.made<RunDetail>(`/api/v1/jobs/${jobId}/run`, {
    targetIds: [t.targetId],
    parameters: Object.fromEntries(names.map((name, n) => [name, secrets[n]])),
  });
  const reader = t.read(run.id);
  const ended = await t.api.runEnds(run.id);
  await reader.end();
  return { jobId, runId: run.id, ...ended, streamed: ended.steps.map(({ id }) => reader.text(id)) };
}

const secrets = canaries().map(({ secret }) => secret);

/** The hunt: the runs that use the secrets, and a trace of what was executed meanwhile, if tracing is possible here. */
let hunted: ReturnType<typeof huntOnce> | undefined;
const hunt = () => (hunted ??= huntOnce());

async function huntOnce() {
  const strace = await ensureStrace();
  const pids = [t.server.pid, t.agent.pid, ...pidsWith(t.sshd.dir)];
  const trace = 'missing' in strace ? strace : await ExecTrace.of(pids, strace);
  const half = (odd: number) => secrets.filter((_, n) => n % 2 === odd);
  const runs = [await runWith(half(0), true), await runWith(half(1), true)];
  const executed = trace instanceof ExecTrace ? await trace.end() : trace;
  return { runs, executed, hunter: new SecretHunter([...secrets, t.sshd.privateKey, fixturePassword]) };
}

test('of 200 secrets that steps used and printed, none can be read anywhere', async () => {
  const { runs, hunter } = await hunt();
  const places = await leakPlaces(t, runs, { s0: secrets[0], s1: secrets[1] });
  for (const [place, written] of Object.entries(places)) expect(hunter.find(written), place).toEqual([]);
  // All of it was printed, and some of the steps failed.
  for (const { status, steps, output } of runs) {
    expect(status).toBe('failed');
    expect(steps.map(({ status }) => status)).toEqual([
      'succeeded',
      'failed',
      'failed',
      'succeeded',
      'failed',
      'failed',
      'succeeded',
      'failed',
      'succeeded',
      'timed_out',
      'failed',
      'succeeded',
    ]);
    expect(output[0]?.match(/\*{8}/g)?.length).toBeGreaterThan(100);
  }
}, 240_000);

test('no program that agent, server or SSH server executed had one of 200 secrets among its arguments', async ({
  skip,
}) => {
  const { executed, hunter } = await hunt();
  if (typeof executed !== 'string') return skip(executed.missing);
  expect(executed).toContain('base64');
  expect(hunter.find(executed)).toEqual([]);
}, 240_000);

const masterKey = () => masterKeyOf(t);

/** Things that are not secret but still confidential: a script, values, output, file names. */
const confidential = canaries('of no secret')
  .map(({ secret }) => secret)
  .slice(0, 40);

test('a dump reveals no definition, value or output; with the master key it reveals all of them, but no secret', async () => {
  const script = `script-${randomUUID()}`;
  const file = `file-${randomUUID()}`;
  const { id: jobId } = await t.api.made<{ id: number }>('/api/v1/jobs', {
    name: `job ${randomUUID()}`,
    parameters: Object.fromEntries(confidential.map((_, n) => [`s${n}`, { type: 'string' }])),
    steps: [
      { ...stepsWith(confidential.length)[0], id: 'print' },
      { name: 'script', type: 'ssh.exec', config: { command: `: ${script}` } },
      {
        ...{ name: 'file', type: 'sftp.upload' },
        config: { local_path: `${t.filesDir}/site/page`, remote_path: `${inbox}/${file}` },
      },
    ],
  });
  const parameters = Object.fromEntries(confidential.map((text, n) => [`s${n}`, text]));
  const run = await t.api.made<RunDetail>(`/api/v1/jobs/${jobId}/run`, {
    targetIds: [t.targetId],
    parameters,
  });
  expect(await t.api.runEnds(run.id)).toMatchObject({ status: 'succeeded' });
  const hunter = new SecretHunter([...confidential, script, file]);
  expect(hunter.find(await dumpRows(t.sql)), 'a dump').toEqual([]);
  expect(hunter.find(filesIn(`${t.serverDataDir}*`)), "the server's disk").toEqual([]);
  const { text: opened } = await openAllAtRest(t.sql, await masterKey());
  expect(hunter.find(opened)).toHaveLength(42);
  expect(new SecretHunter([...secrets, t.sshd.privateKey]).find(opened)).toEqual([]);
}, 120_000);

test('no key of the server opens a sealed value; only the key on agents does', async () => {
  const key = await masterKey();
  const { keys } = await openAllAtRest(t.sql, key);
  const [installation] = await t.sql<{ id: string; serverKeySealed: Buffer }[]>`select * from installation`;
  const [segment] = await t.sql<{ id: number; rootKeySealed: Buffer }[]>`select * from segments`;
  if (installation === undefined || segment === undefined) throw new Error('nothing was stolen');
  const stolen = [
    ...keys,
    ...[
      key.key,
      unwrapDataKey(key, installation.serverKeySealed.toString(), `server-key/${installation.id}`),
    ],
    unwrapDataKey(key, segment.rootKeySealed.toString(), `segment-root/${segment.id}`),
    // Anything else of a key's size on the server's disk.
    ...(filesIn(`${t.serverDataDir}*`).match(/[A-Za-z0-9+/]{43}=/g) ?? []).map((text) =>
      Buffer.from(text, 'base64'),
    ),
  ];
  const sealed = await t.sql<{ jobId: number; id: string; name: string; sealed: SealedEnvelope }[]>`
    select r.job_id, r.secrets_id as id, s.name, s.sealed from job_run_secrets s join job_runs r on r.id = s.job_run_id
    order by s.name limit 3`;
  expect(sealed).toHaveLength(3);
  const open = (
    segmentPrivateKey: Uint8Array,
    { jobId, id, name, sealed: envelope }: (typeof sealed)[number],
  ) => {
    const { generation } = envelope;
    const of = { installationId: installation.id, segmentId: segment.id, generation };
    return openRunValue({
      segmentPrivateKey,
      binding: { jobId, id, step: '', name, ...of },
      sealed: envelope,
    });
  };
  for (const one of sealed) {
    for (const each of stolen) await expect(open(each, one)).rejects.toThrow(SealingError);
  }
  const agentKey = await readKey(join(t.agent.dataDir, 'segment-keys/1.key'));
  if (agentKey === undefined) throw new Error('the agent has no segment key');
  for (const one of sealed) expect(secrets).toContain(await open(agentKey, one));
}, 60_000);

test('an owner who holds the root admits agents, seals, and brings back a segment whose agents are lost', async () => {
  const owner = await Owner.at(join(t.serverDataDir, '../owner'), t.api);
  await owner.segment('init', 'vault');
  const { items } = (await t.api.get<{ items: Segment[] }>('/api/v1/segments')).body;
  const segmentId = items.find(({ name }) => name === 'vault')?.id ?? 0;
  const sealingKey = `/api/v1/segments/${segmentId}/sealing-key`;
  const hasKey = (name: string) =>
    t.until(async () => {
      const { body } = await t.api.get<{ items: Agent[] }>('/api/v1/agents');
      expect(body.items.find((agent) => agent.name === name)).toMatchObject({ hasSegmentKey: true });
    });
  const first = await t.enrollAgent('vault-a', segmentId);
  await first.start();
  expect((await t.api.get(sealingKey)).status).toBe(409);
  const admission = await owner.admits(first);
  expect(await owner.sign('vault', ...admission, '--recovery', owner.file('recovery'))).toHaveLength(3);
  await hasKey('vault-a');

  const { user, host, port, privateKey, hostKeyLine } = t.sshd;
  await owner.write('key', privateKey);
  const bounds = ['--host', host, '--port', String(port)];
  const kind = ['--kind', 'ssh_private_key', '--user', user, '--secret-file', owner.file('key')];
  await owner.credential('seal', 'vault key', '--segment', 'vault', ...kind, ...bounds);
  const { body: credentials } = await t.api.get<{ items: Credential[] }>(
    `/api/v1/credentials?segmentId=${segmentId}`,
  );
  const { id: targetId } = await t.api.made<{ id: number }>('/api/v1/targets', {
    ...{ segmentId, name: 'vault-host', host, port, credentialId: credentials.items[0]?.id },
    hostKeyFingerprint: hostKeyFingerprintOf(hostKeyLine),
  });
  const { id: jobId } = await t.api.made<{ id: number }>('/api/v1/jobs', {
    name: `job ${randomUUID()}`,
    steps: [{ name: 'id', type: 'ssh.exec', config: { command: 'echo opened' } }],
  });
  const ran = { status: 'succeeded', output: ['opened\n'] };
  expect(await t.api.run(jobId, [targetId])).toMatchObject({ ...ran, steps: [{ agentName: 'vault-a' }] });

  const proof = 'generation 1 of the segment key opens, and is the key that the roster names';
  await t.until(async () => expect(await owner.recovery('prove', 'vault')).toEqual([proof]));

  // The machine is gone, and everything that could open credentials with it.
  await first.stop();
  await rm(first.dataDir, { recursive: true });
  const second = await t.enrollAgent('vault-b', segmentId);
  await second.start();
  await owner.sign('vault', ...(await owner.admits(second)));
  expect(await owner.recovery('use', 'vault', '--agent', 'vault-b')).toEqual([
    proof,
    'Agent vault-b gets generation 1 of the segment key.',
  ]);
  await hasKey('vault-b');
  expect(await t.api.run(jobId, [targetId])).toMatchObject({ ...ran, steps: [{ agentName: 'vault-b' }] });

  // It replaces its own keys, and is killed before it hears that its owner has signed them.
  expect(await newKeys(second.dataDir)).toContain('were made');
  await t.until(async () => {
    const { body } = await t.api.get<Segment>(`/api/v1/segments/${segmentId}`);
    expect(body.toSign).toMatchObject({ rekey: ['vault-b'] });
  });
  await second.kill9();
  expect(await owner.sign('vault')).toEqual([
    expect.stringContaining(
      'names the new keys of agent vault-b, which it has signed with its previous ones',
    ),
  ]);
  await second.start();
  expect(await t.api.run(jobId, [targetId])).toMatchObject({ ...ran, steps: [{ agentName: 'vault-b' }] });
}, 120_000);

test('an agent replaces its keys while it works, and a copy of the previous keys can no longer connect', async () => {
  const copy = new TestAgent('copy', join(t.serverDataDir, '../copy'), 1);
  await cp(t.agent.dataDir, copy.dataDir, { recursive: true });
  await rm(join(copy.dataDir, 'lock'));
  const { items } = (await t.api.get<{ items: Agent[] }>('/api/v1/agents')).body;
  const id = items.find(({ name }) => name === t.agent.name)?.id ?? 0;
  const gate = await t.gate();
  const { reader, stepIds } = await t.run([`echo begun; ${gate.wait}; echo ended`]);
  await reader.until(() => reader.text(stepIds[0] ?? 0) === 'begun\n', 'the first line');
  await t.api.made(`/api/v1/agents/${id}/new-keys`);
  await t.agent.says(/the keys of this agent were replaced/);
  await gate.open();
  expect(await reader.end()).toBe('succeeded');
  expect((await t.api.get<AgentDetail>(`/api/v1/agents/${id}`)).body).toMatchObject({
    state: 'connected',
    keysChangedAt: expect.any(String),
    newKeysWantedAt: null,
  });
  await copy.start({ connected: false });
  await copy.says(/does not accept this agent/);
  // Killed, because when asked to end it would wait for what its journal says was in progress.
  await copy.kill9();
  await t.agent.stop();
  await t.agent.start();
  const { text: audit } = await t.api.get('/api/v1/audit?action=agent.keys_changed');
  expect(audit).toContain(t.agent.name);
}, 60_000);

test('what the owner of the machine does not allow is refused, and both sides record that', async () => {
  const policy = t.agent.policy ?? '';
  await writeFile(policy, `file_roots: [${t.filesDir}]\nstep_types: [ssh.exec]\nusers: [nobody-else]\n`);
  await t.agent.stop();
  await t.agent.start();
  const runId = await t.runSteps([{ name: 'id', type: 'ssh.exec', config: { command: 'id' } }]);
  const { steps } = await t.api.runEnds(runId);
  const message = `The policy of this agent does not allow user ${t.sshd.user}: rule users; it allows nobody-else (${policy}, line 3).`;
  expect(steps).toMatchObject([{ status: 'failed', reason: 'policy_refused', errorMessage: message }]);
  const { text: audit } = await t.api.get('/api/v1/audit?action=agent.step_refused');
  expect(audit).toContain(message);
  expect(filesIn(t.agent.dataDir)).toContain(message);
  const test = await t.api.post(`/api/v1/targets/${t.targetId}/test`);
  expect(test.text).toContain('rule users');
}, 60_000);

test('a secret that the agent’s machine keeps opens a target within the policy’s bounds, and is masked', async () => {
  const policy = t.agent.policy ?? '';
  const key = join(t.sshd.dir, 'key of the machine');
  await writeFile(key, t.sshd.privateKey, { mode: 0o644 });
  const { host, port, user } = t.sshd;
  const source = (name: string, path: string, hosts: string) =>
    `  - { name: ${name}, file: ${path}, bounds: { hosts: ["${hosts}"], ports: [${port}], user: ${user} } }\n`;
  const sources = [source('deploy', key, host), source('gone', `${key}s`, host), source('db', key, 'db-*')];
  await writeFile(policy, `file_roots: [${t.filesDir}]\nsources:\n${sources.join('')}`);
  t.agent.signal('SIGHUP');
  await t.agent.says(/policy file was read again/);
  const hostKeyFingerprint = hostKeyFingerprintOf(t.sshd.hostKeyLine);
  const target = async (name: string) => {
    const bounds = { hosts: ['*'], networks: [], ports: [port], user, protocols: ['ssh' as const] };
    const credentialId = await storeCredential(t.api, t.segmentId, `from ${name}`, {
      ...{ kind: 'ssh_key_source', user, source: name },
      bounds: { ...bounds, authentication: ['publickey'] },
    });
    const place = {
      segmentId: t.segmentId,
      name: `by ${name}`,
      host,
      port,
      credentialId,
      hostKeyFingerprint,
    };
    return (await t.api.made<{ id: number }>('/api/v1/targets', place)).id;
  };
  const deploy = await target('deploy');
  const tested = async (id: number) => (await t.api.post<TestResult>(`/api/v1/targets/${id}/test`)).body;
  const [gone, db] = [await tested(await target('gone')), await tested(await target('db'))];
  expect(gone).toMatchObject({ ok: false, reason: 'credential_unusable' });
  expect(gone.message).toContain('Source gone of this agent’s policy');
  expect(gone.message).toContain('line 4) is a file that is not there.');
  expect(db).toMatchObject({ ok: false, reason: 'policy_refused' });
  expect(db.message).toContain('rule sources[2].bounds.hosts; it allows db-*');
  const { id: jobId } = await t.api.made<{ id: number }>('/api/v1/jobs', {
    name: 'shows its key',
    steps: [{ name: 'show', type: 'ssh.exec', config: { command: `cat '${key}'; echo shown` } }],
  });
  const run = await t.api.made<RunDetail>(`/api/v1/jobs/${jobId}/run`, { targetIds: [deploy] });
  const reader = t.read(run.id);
  const { steps } = await t.api.runEnds(run.id);
  await reader.end();
  expect(steps).toMatchObject([{ status: 'succeeded' }]);
  const line = t.sshd.privateKey.split('\n')[1] ?? '';
  const output = reader.text(steps[0]?.id ?? 0);
  expect(output).toContain('shown');
  expect(output).not.toContain(line);
  expect(filesIn(t.agent.dataDir)).not.toContain(line);
  expect((await t.api.get('/api/v1/audit?action=agent.policy_reloaded')).text).toContain(t.agent.name);
}, 60_000);

test('signed runs are carried out; the agent refuses those that are unsigned or altered', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-signer-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  const [key, draft] = [join(dir, 'signer.key'), join(dir, 'draft.json')];
  const { publicKey } = await makeKeyFile(key, 'signer', 'correct horse battery', { N: 16, r: 8, p: 1 });
  const signers = `require_grant: { signers: [{ name: lead, public_key: "${publicKey}" }] }`;
  await writeFile(t.agent.policy ?? '', `file_roots: [${t.filesDir}]\n${signers}\n`);
  await t.agent.stop();
  await t.agent.start();
  const { id: jobId } = await t.api.made<{ id: number }>('/api/v1/jobs', {
    name: 'Signed',
    parameters: { word: { type: 'string' } },
    steps: [{ name: 'say', type: 'ssh.exec', config: { command: 'echo "signed: ${{ parameters.word }}"' } }],
  });
  const asked = { targetIds: [t.targetId], parameters: { word: 'hello' } };
  const run = `/api/v1/jobs/${jobId}/run`;
  expect((await t.api.post(run, asked)).text).toContain('run only what is signed');
  const signedStart = async (name: string) => {
    const out = join(dir, name);
    await writeFile(draft, (await t.api.post(`/api/v1/jobs/${jobId}/grant-draft`, asked)).text);
    const yes = { passphrase: async () => 'correct horse battery', confirm: async () => true };
    await signRun({ key, draft, out, hours: 1, say: () => undefined, ...yes });
    return JSON.parse(await readFile(out, 'utf8')) as object;
  };
  const { id } = await t.api.made<RunDetail>(run, await signedStart('start.json'));
  expect((await t.api.runEnds(id)).steps).toMatchObject([{ status: 'succeeded' }]);
  expect((await t.api.get(`/api/v1/runs/${id}`)).text).toContain('"signature":{"fingerprint":"SHA256:');
  // Altered between its start and its lease, behind the server's back.
  await t.agent.stop();
  const { id: altered } = await t.api.made<RunDetail>(run, await signedStart('altered.json'));
  await t.sql`update targets set settings = settings || '{"keepalive_interval": 77}' where id = ${t.targetId}`;
  await t.agent.start();
  const { steps } = await t.api.runEnds(altered);
  const message = 'a different keepaliveIntervalS of host than was signed: rule require_grant';
  expect(steps).toMatchObject([
    { status: 'failed', reason: 'policy_refused', errorMessage: expect.stringContaining(message) },
  ]);
  expect((await t.api.get('/api/v1/audit?action=agent.step_refused')).text).toContain(message);
  expect(filesIn(t.agent.dataDir)).toContain(message);
}, 60_000);
