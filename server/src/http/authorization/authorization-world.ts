// The world for the walk over all routes: two segments, categories and target groups, named alfa and zeta, each with an
// agent, targets, a job and runs; and runs on targets of both, of a job in a third category. Everything that belongs to
// one side has that side's name in it, so that a leak shows in an answer.
import { createHash, randomBytes } from 'node:crypto';
import {
  bundleMark,
  type Permission,
  type Role,
  reachesInto,
  rolePermissions,
  type ScopeKind,
} from '@opsconductor/protocol';
import { hashSecretToken, makeSecretToken } from '../../auth/secret-token.ts';
import { createCategory } from '../../categories/edit-categories.ts';
import { createCredential } from '../../credentials/edit-credentials.ts';
import { AgentContents } from '../../files/agent-contents.ts';
import { createFile, finishFile, uploadBytes } from '../../files/upload-file.ts';
import { createScan } from '../../host-keys/create-scan.ts';
import { recordScanned } from '../../host-keys/record-scanned.ts';
import { createInventory } from '../../inventory/edit-inventories.ts';
import { putHosts } from '../../inventory/put-hosts.ts';
import { JobImports } from '../../jobs/bundles/job-imports.ts';
import { createJob } from '../../jobs/create-job.ts';
import { setVersionName } from '../../jobs/versions/version-names.ts';
import { createLog, type LogLevel } from '../../log.ts';
import { chunkOf, setupOutput, type TestOutput } from '../../runs/output/output-testing.ts';
import { startRun } from '../../runs/start/start-run.ts';
import { endOf, failure, success } from '../../runs/testing.ts';
import { revokeAgent } from '../../segments/agents/revoke-agent.ts';
import { createSegment } from '../../segments/create-segment.ts';
import { enrollAgent } from '../../segments/enrollment/enroll-agent.ts';
import {
  asOfNow,
  enrollRequest,
  makeAgentKeys,
  makeFirstAgent,
  makeToken,
  sealedCredentialRequest,
  testOrigin,
} from '../../segments/testing.ts';
import { createServices, type Services } from '../../services.ts';
import { unusedEnrollmentTokens } from '../../store/agents/enrollment-tokens.ts';
import { giveItems } from '../../store/host-keys/host-scans.ts';
import { insertApiToken } from '../../store/people/api-tokens.ts';
import { insertUser } from '../../store/people/users.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import { createTarget } from '../../targets/edit-targets.ts';
import { getTarget } from '../../targets/list-targets.ts';

/**
 * A scope as text, such as `segment:3`. A `Place` lists the scopes that a thing lies in, which are those it can be
 * granted on.
 */
export type ScopeKey = `${ScopeKind}:${number}`;
export type Place = readonly ScopeKey[];

export interface Side {
  name: 'alfa' | 'zeta';
  segmentId: number;
  categoryId: number;
  groupId: number;
  agentId: number;
  /** Not used. */
  enrollmentTokenId: number;
  /** Was revoked before it received the segment key. */
  revokedAgentId: number;
  credentialId: string;
  /** Has a label, the tag `kept` and the channel `moving`. */
  jobId: number;
  /** In a subcategory of the other job's category. Refers to the file. */
  deepJobId: number;
  /** Fully uploaded, and in the category of the first job. */
  fileId: string;
  /** In the target group. */
  targetId: number;
  /** In no target group, and without a credential. */
  bareTargetId: number;
  /** Contains the bare target, through the plan `planId`. */
  inventoryId: number;
  planId: string;
  /** A scan of the target, which has shown a key. */
  scanId: number;
  category: Place;
  /** Includes the parent category, as grants on it apply here too. */
  deepCategory: Place;
  segment: Place;
  group: Place;
  target: Place;
  bareTarget: Place;
}

/** A run with its target runs and the first step of each. */
export interface WalkedRun {
  id: number;
  jobName: string;
  category: Place;
  /** `artifactId` is set only in runs that have ended. */
  targetRuns: { id: number; stepId: number; place: Place; artifactId: string }[];
}

export interface World {
  t: TestOutput;
  services: Services;
  alfa: Side;
  zeta: Side;
  /** In the third category. */
  shared: { categoryId: number; jobId: number; place: Place };
  /** Runs of alfa, of zeta, and of both. All ended with output; the second side of the last one failed. */
  ended: WalkedRun[];
  /** The same, but waiting. */
  open: WalkedRun[];
  /** Owned by a user who is none of the personas of the walk. */
  importId: string;
  close(): Promise<void>;
}

export async function makeWorld(): Promise<World> {
  const t = await setupOutput();
  // The set-up's own agent would take steps that are meant to wait.
  await t.sql`update agents set state = 'disabled' where id = ${t.agent.agentId}`;
  const alfa = await makeSide(t, 'alfa');
  const zeta = await makeSide(t, 'zeta');
  const category = await createCategory(t.sql, { name: 'shared jobs' }, t.caller);
  const sharedJob = await makeJob(t, 'shared', 'shared jobs');
  const place: Place = [`category:${category.id}`];
  const jobs = [
    { jobId: alfa.jobId, jobName: 'alfa job', category: alfa.category, sides: [alfa] },
    { jobId: zeta.jobId, jobName: 'zeta job', category: zeta.category, sides: [zeta] },
    { jobId: sharedJob, jobName: 'shared job', category: place, sides: [alfa, zeta] },
  ];
  const ended: WalkedRun[] = [];
  for (const job of jobs) ended.push(await makeRun(t, job, async () => finish(t, job.sides)));
  const open: WalkedRun[] = [];
  for (const job of jobs) open.push(await makeRun(t, job));
  const services = await servicesOf(t);
  return {
    t,
    services,
    alfa,
    zeta,
    shared: { categoryId: category.id, jobId: sharedJob, place },
    ended,
    open,
    importId: await planImport(t),
    async close() {
      await services.stop();
      await t[Symbol.asyncDispose]();
    },
  };
}

async function makeSide(t: TestOutput, name: Side['name']): Promise<Side> {
  const segmentId = (await createSegment(t.sql, t.masterKey, { name }, t.caller)).id;
  const { enrolled } = await makeFirstAgent(t, segmentId, `${name}-agent`);
  await t.connect({ agentId: enrolled.agentId, name: enrolled.agentName });
  const revokedAgentId = await enrollOnly(t, segmentId, `${name}-gone`);
  await makeToken(t, segmentId);
  const enrollmentTokenId = (await unusedEnrollmentTokens(t.sql, segmentId, asOfNow()))[0]?.id ?? 0;
  const { installationId } = t.identity;
  await revokeAgent({ ...t, installationId }, revokedAgentId, t.caller);
  const sealed = await sealedCredentialRequest(t, segmentId, `${name}-key`);
  const credentialId = (await createCredential(t.sql, sealed, t.caller)).id;
  const categoryId = (await createCategory(t.sql, { name: `${name} jobs` }, t.caller)).id;
  const deepId = (await createCategory(t.sql, { name: `${name} jobs/${name} deep` }, t.caller)).id;
  const jobId = await makeJob(t, name, `${name} jobs`);
  for (const [named, kind] of [
    ['kept', 'tag'],
    ['moving', 'channel'],
  ] as const) {
    await setVersionName(t.sql, jobId, { name: named, kind, version: 1 }, t.caller);
  }
  const fileId = await uploadFile(t, name);
  const host = { segmentId, host: `${name}.example` };
  const target = await createTarget(
    t.sql,
    { ...host, name: `${name}-host`, credentialId, labels: { [`${name}-label`]: '' } },
    t.caller,
  );
  const bare = await createTarget(t.sql, { ...host, name: `${name}-bare` }, t.caller);
  const plan = await importTarget(t, { name: `${name} inventory`, segmentId }, bare);
  const [group] = await t.sql<{ id: number }[]>`
    insert into target_groups (name) values (${`${name}-group`}) returning id`;
  const groupId = group?.id ?? 0;
  await t.sql`insert into target_group_entries (target_group_id, target_id) values (${groupId}, ${target.id})`;
  await t.sql`insert into target_group_members (target_group_id, target_id) values (${groupId}, ${target.id})`;
  return {
    name,
    segmentId,
    categoryId,
    groupId,
    agentId: enrolled.agentId,
    enrollmentTokenId,
    revokedAgentId,
    credentialId,
    jobId,
    fileId,
    deepJobId: await makeJob(t, `${name} deep`, `${name} jobs/${name} deep`, deepStepsOf(name)),
    targetId: target.id,
    bareTargetId: bare.id,
    inventoryId: plan.inventoryId,
    planId: plan.id,
    scanId: await scanTarget(t, { segmentId, agentId: enrolled.agentId, targetId: target.id }),
    category: [`category:${categoryId}`],
    deepCategory: [`category:${categoryId}`, `category:${deepId}`],
    segment: [`segment:${segmentId}`],
    group: [`target_group:${groupId}`],
    target: [`segment:${segmentId}`, `target_group:${groupId}`],
    bareTarget: [`segment:${segmentId}`],
  };
}

async function enrollOnly(t: TestOutput, segmentId: number, name: string): Promise<number> {
  const request = await enrollRequest(await makeToken(t, segmentId), name, await makeAgentKeys());
  return (await enrollAgent(t, request, testOrigin)).agentId;
}

/** Imports an inventory that contains the target. */
async function importTarget(
  t: TestOutput,
  inventory: { name: string; segmentId: number },
  { name, host }: { name: string; host: string },
) {
  const { id } = await createInventory(t.sql, { ...inventory, format: 'api' }, t.caller);
  return putHosts(
    t.sql,
    id,
    { hosts: [{ name, host }], adopt: 'by_hand', apply: { gone: 'keep' } },
    t.caller,
  );
}

async function planImport(t: TestOutput): Promise<string> {
  const imports = new JobImports({ ...t, log: createLog({ level: 'silent', plain: false }) });
  const jobs = [
    {
      definition: {
        name: 'imported job',
        steps: [{ name: 'only', type: 'ssh.exec', config: { command: 'uptime' } }],
      },
    },
  ];
  const { id } = await imports.create(
    {},
    Buffer.from(JSON.stringify({ format: bundleMark, version: 1, jobs })),
    t.caller,
  );
  await imports.settled(id);
  return id;
}

/** Creates a scan that the agent has reported on. */
export async function scanTarget(
  t: TestOutput,
  { segmentId, agentId, targetId }: { segmentId: number; agentId: number; targetId: number },
): Promise<number> {
  const selection = { targetIds: [targetId] };
  const { id } = await createScan(t.sql, { kind: 'keys', selection }, t.caller);
  await giveItems(t.sql, { agentId, segmentId, sessionNumber: 1 }, { limit: 10 });
  const blob = Buffer.concat([Buffer.from('\0\0\0\x0bssh-ed25519\0\0\0 ', 'latin1'), randomBytes(32)]);
  const keys = [`ssh-ed25519 ${blob.toString('base64')}`];
  const place = await getTarget(t.sql, targetId, unrestricted);
  await recordScanned(t.sql, { agentId, scanId: id }, [{ targetId, ok: true, keys }], () => ({
    host: place.host,
    port: place.effective.port,
  }));
  return id;
}

const plainSteps = [{ name: 'only', type: 'ssh.exec', config: { command: 'uptime' } }];

/** The steps of the job that refers to its side's file. */
export function deepStepsOf(name: string): object[] {
  const config = { file: `${name}-file`, remote_path: '/tmp/copy' };
  return [...plainSteps, { name: 'copy', type: 'sftp.upload', config }];
}

async function uploadFile(t: TestOutput, name: Side['name']): Promise<string> {
  const bytes = Buffer.from(`what ${name} copies`);
  const deps = { ...t, maxStoredBytes: 1_000_000 };
  const request = { name: `${name}-file`, size: bytes.length, category: `${name} jobs` };
  const { id } = await createFile(deps, request, t.caller);
  await uploadBytes(deps, { id, offset: 0, bytes }, t.caller);
  await finishFile(deps, id, {}, t.caller);
  return id;
}

async function keepArtifact(t: TestOutput, lease: ClaimedStep, name: string): Promise<void> {
  const contents = new AgentContents({ ...t, maxStoredBytes: 1_000_000 });
  const { id: stepId, jobRunId: runId, epoch, agentId, sessionNumber } = lease;
  const attempt = { stepId, runId, epoch, agentId, sessionNumber };
  const bytes = Buffer.from(`what ${name} had`);
  const opened = await contents.answer(attempt, { do: 'open_artifact', name, size: bytes.length });
  const artifact = opened.artifact?.id ?? '';
  await contents.answer(attempt, { do: 'write_artifact', artifact, part: 0, data: bytes.toString('base64') });
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  await contents.answer(attempt, { do: 'close_artifact', artifact, sha256 });
}

async function makeJob(
  t: TestOutput,
  name: string,
  category: string,
  steps: readonly object[] = plainSteps,
): Promise<number> {
  const labels = { [`${name.replaceAll(' ', '-')}-purpose`]: 'walk' };
  return (await createJob(t, { name: `${name} job`, category, labels, steps }, t.caller)).id;
}

async function makeRun(
  t: TestOutput,
  job: { jobId: number; jobName: string; category: Place; sides: readonly Side[] },
  then: () => Promise<void> = async () => {},
): Promise<WalkedRun> {
  const targetIds = job.sides.map((side) => side.targetId);
  const { runId } = await startRun(t, { jobId: job.jobId, selection: { targetIds } }, t.caller);
  await then();
  const rows = await t.sql<{ id: number; stepId: number; targetId: number; artifactId: string }[]>`
    select tr.id, tr.target_id, s.id as step_id, coalesce(a.id::text, '') as artifact_id
    from job_run_targets tr join job_run_steps s on s.target_run_id = tr.id
    left join run_artifacts a on a.job_run_step_id = s.id
    where tr.job_run_id = ${runId} order by tr.id`;
  const placeOf = (targetId: number) =>
    job.sides.filter((side) => side.targetId === targetId).flatMap((side) => side.target);
  return {
    id: runId,
    jobName: job.jobName,
    category: job.category,
    targetRuns: rows.map(({ id, stepId, targetId, artifactId }) => ({
      id,
      stepId,
      artifactId,
      place: [...job.category, ...placeOf(targetId)],
    })),
  };
}

/** Runs whatever is waiting: each side prints its name; if a run has two sides, the second fails. */
async function finish(t: TestOutput, sides: readonly Side[]): Promise<void> {
  for (const lease of await t.claim()) {
    const side = sides.find(({ agentId }) => agentId === lease.agentId);
    if (side === undefined) throw new Error('a step was leased to an agent of neither side');
    await keepArtifact(t, lease, `${side.name}-log`);
    await t.send(lease, chunkOf(lease, 1, `${side.name} printed this\n`));
    const fails = sides.length > 1 && side === sides.at(-1);
    await t.settle(endOf(lease, fails ? { ...failure, message: `${side.name} was full` } : success));
  }
}

/** Returns the whole server on this database, without a listener. By default it logs errors only, to stderr. */
export async function servicesOf(t: TestOutput, level: LogLevel = 'error'): Promise<Services> {
  return createServices({
    sql: t.sql,
    queue: t.sql,
    migrations: [],
    installation: { ...t.identity, timeline: 1, masterKey: t.masterKey },
    log: createLog({
      level,
      plain: false,
      destination: { write: (line) => process.stderr.write(line) },
    }),
    access: { hosts: [], origins: [], https: false, behindTlsProxy: false },
    publicUrl: 'https://ops.example.com',
    caPin: () => undefined,
    caPem: undefined,
    console: { answer: () => undefined },
    agentBundle: async () => '/nonexistent',
    agentSha256: async () => 'cd'.repeat(32),
    checkReplies: true,
  });
}

/** A caller: the roles they were granted and where, and how an API token narrows these. */
export interface Persona {
  name: string;
  /** Each role with its scope; `null` means everywhere. */
  grants: { role: Role; scope: ScopeKey | null }[];
  token?: { permissions?: Permission[]; scopes?: ScopeKey[] };
}

/** Creates a user and an API token for the persona; returns the token. */
export async function enter({ t }: World, persona: Persona): Promise<string> {
  const secret = makeSecretToken('oct_');
  const userId = await insertUser(t.sql, persona.name, []);
  for (const { role, scope } of persona.grants) {
    const column = scope === null ? {} : { [columnOf[kindOf(scope)]]: idOf(scope) };
    await t.sql`insert into role_grants ${t.sql({ userId, role, ...column })}`;
  }
  const { permissions = null, scopes = null } = persona.token ?? {};
  await insertApiToken(t.sql, {
    userId,
    name: 'walk',
    prefix: secret.slice(0, 10),
    tokenHash: hashSecretToken(secret),
    createdAt: new Date(),
    expiresAt: null,
    permissions,
    scopes: scopes?.map((scope) => ({ kind: kindOf(scope), id: idOf(scope) })) ?? null,
  });
  return secret;
}

const columnOf = { category: 'categoryId', segment: 'segmentId', target_group: 'targetGroupId' } as const;
const kindOf = (scope: ScopeKey) => scope.split(':')[0] as ScopeKind;
const idOf = (scope: ScopeKey) => Number(scope.split(':')[1]);

/**
 * Returns whether, by the model of rights, the persona holds the permission on what lies in these scopes. Deliberately
 * written independently of the server's own check.
 */
export function holds(persona: Persona, permission: Permission, place: Place): boolean {
  const { permissions, scopes } = persona.token ?? {};
  if (permissions !== undefined && !permissions.includes(permission)) return false;
  if (scopes !== undefined && !scopes.some((scope) => place.includes(scope))) return false;
  return persona.grants.some(
    ({ role, scope }) =>
      rolePermissions[role].includes(permission) &&
      (scope === null || (reachesInto(permission, kindOf(scope)) && place.includes(scope))),
  );
}

/**
 * Returns whether the persona holds the permission on anything at all; only then does the route look at the request.
 */
export function holdsSomewhere(persona: Persona, permission: Permission): boolean {
  const { permissions, scopes } = persona.token ?? {};
  if (permissions !== undefined && !permissions.includes(permission)) return false;
  if (scopes?.length === 0) return false;
  return persona.grants.some(
    ({ role, scope }) =>
      rolePermissions[role].includes(permission) &&
      (scope === null || reachesInto(permission, kindOf(scope))),
  );
}

export function holdsEverywhere(persona: Persona, permission: Permission): boolean {
  const { permissions, scopes } = persona.token ?? {};
  if (scopes !== undefined) return false;
  if (permissions !== undefined && !permissions.includes(permission)) return false;
  return persona.grants.some(
    ({ role, scope }) => scope === null && rolePermissions[role].includes(permission),
  );
}
