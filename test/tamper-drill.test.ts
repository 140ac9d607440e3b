// Alters each column that shapes a run behind the server's back. An agent whose owner requires signed runs must refuse
// what the server then hands out. A new column has to be added to one of the lists.
import { agentCapabilities, type Lease } from '@opsconductor/protocol';
import { signGrant } from '@opsconductor/protocol/grants';
import { encodeBase64, generateSigningKeyPair } from '@opsconductor/protocol/sealing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GrantGuard } from '../agent/src/grants/grant-guard.ts';
import { GrantBegins } from '../agent/src/journal/grant-begins.ts';
import { PolicyGuard, type Refusal } from '../agent/src/policy/policy-guard.ts';
import { createCredential } from '../server/src/credentials/edit-credentials.ts';
import { createJob } from '../server/src/jobs/create-job.ts';
import { prepareGrant } from '../server/src/runs/grants/prepare-grant.ts';
import { LeaseBuilder } from '../server/src/runs/leases/lease-builder.ts';
import { startRun } from '../server/src/runs/start/start-run.ts';
import { setupRuns, type TestRuns } from '../server/src/runs/testing.ts';
import { sealSecrets } from '../server/src/runs/values/seal-secrets.ts';
import { makeSegment, sealedCredentialRequest } from '../server/src/segments/testing.ts';
import type { Sql } from '../server/src/store/database/connection.ts';
import { createTarget } from '../server/src/targets/edit-targets.ts';

/** What happens: the agent refuses it; nothing is handed out; or what is handed out is what was signed. */
type Fate = 'refused' | 'not handed out' | 'as signed';
interface Alteration {
  set: string;
  fate: Fate;
}
const refused = (set: string): Alteration => ({ set, fate: 'refused' });
const notHandedOut = (set: string): Alteration => ({ set, fate: 'not handed out' });
const asSigned = (set: string): Alteration => ({ set, fate: 'as signed' });
/** Used only by the server: when and to whom a step is handed out, what happened to it, and what people are shown. */
const unread = undefined;

const text = `'other'`;
const bytes = `'\\x0011'::bytea`;
const later = `now() + interval '1 day'`;
const envelope = `jsonb_set(sealed, '{ciphertext}', '"AAAA"')`;

const columns: Record<string, Record<string, Alteration | undefined>> = {
  job_versions: {
    ...{
      job_id: unread,
      version: unread,
      created_by: unread,
      created_at: unread,
      note: unread,
      restores: unread,
    },
    ...{
      step_names: asSigned(`array['other']`),
      step_types: asSigned(`array['winrm.exec']`),
      file_names: unread,
    },
    definition: notHandedOut(bytes),
    // The agent computes it from the definition itself.
    checksum: asSigned(bytes),
    step_credentials: refused(`array['second']::text[]`),
    // The user of a command is in its step's configuration; the credential is signed.
    run_as_credentials: asSigned(`array['second']::text[]`),
    step_rules: asSigned(`'[]'`),
  },
  job_runs: {
    ...{ id: unread, status: unread, max_failures: unread, targets_total: unread, targets_running: unread },
    ...{
      targets_succeeded: unread,
      targets_failed: unread,
      targets_cancelled: unread,
      targets_timed_out: unread,
    },
    ...{ targets_unknown: unread, total_steps: unread, completed_steps: unread, failed_steps: unread },
    ...{
      output_state: unread,
      event_seq: unread,
      start_by: unread,
      started_at: unread,
      completed_at: unread,
    },
    ...{ execution_time_ms: unread, error_message: unread, cancel_requested_at: unread, selection: unread },
    ...{ cancel_requested_by: unread, priority: unread, strategy: unread, targets_opened: unread },
    ...{
      batch_number: unread,
      batch_end: unread,
      batch_failures: unread,
      batch_began_at: unread,
      halted_at: unread,
      timeout_s: unread,
    },
    ...{ halted_reason: unread, stop_reason: unread, locks: unread, rerun_of: unread, targets_held: unread },
    ...{ late_results: unread, is_trial: unread, version_ref: unread, reason: unread, request_key: unread },
    ...{ request_digest: unread, request_content_digest: unread, grant_nonce: unread },
    job_id: notHandedOut('(select max(id) from jobs)'),
    // Bound to its place: a copy of the definition can't be opened elsewhere.
    job_version: notHandedOut('2'),
    data_key: notHandedOut(text),
    created_by: refused('(select max(id) from users)'),
    created_at: refused(later),
    parameters: notHandedOut(bytes),
    secrets_id: refused('gen_random_uuid()'),
    signed_grant: refused('null'),
  },
  job_run_targets: {
    ...{ id: unread, status: unread, started_at: unread, completed_at: unread, is_open: unread },
    ...{ has_locks: unread, end_reason: unread, first_failure: unread },
    ...{ cancel_requested_at: unread, cancel_requested_by: unread },
    job_run_id: unread,
    target_id: refused(`(select id from targets where name = 'elsewhere')`),
    segment_id: refused('(select max(id) from segments)'),
    target_name: refused(text),
  },
  job_run_steps: {
    // Identifies an attempt, and says when it is handed out.
    ...{
      id: unread,
      target_run_id: unread,
      segment_id: unread,
      status: unread,
      epoch: unread,
      unbegun: unread,
      lease_token: unread,
    },
    ...{
      agent_id: unread,
      session_number: unread,
      attempt_day: unread,
      leased_at: unread,
      started_at: unread,
    },
    ...{ deadline_at: unread, cancel_sent_at: unread, completed_at: unread, execution_time_ms: unread },
    ...{ exit_code: unread, signal: unread, reason: unread, error_message: unread, advice: unread },
    ...{
      survivors: unread,
      detections: unread,
      output_state: unread,
      output_seq: unread,
      output_bytes: unread,
      claim_rank: unread,
    },
    ...{ not_before: unread, has_locks: unread, waits_lock: unread, held_until: unread, is_clean_up: unread },
    ...{
      cpu_ms: unread,
      peak_memory_bytes: unread,
      waits_since: unread,
      needs: unread,
      time_budget_s: unread,
    },
    job_run_id: notHandedOut('999'),
    // The lease says which step of the definition it is: the next one, which is also signed, in its order.
    step_number: asSigned('2'),
    step_type: refused(`'winrm.exec'`),
  },
  job_run_secrets: {
    job_run_id: refused('999'),
    segment_id: refused('(select max(id) from segments)'),
    name: refused(text),
    sealed: refused(envelope),
  },
  targets: {
    ...{
      created_at: unread,
      updated_at: unread,
      description: unread,
      inventory_id: unread,
      inventory_key: unread,
    },
    ...{
      inventory_values: unread,
      inventory_gone_at: unread,
      last_contact_at: unread,
      last_contact_ok: unread,
    },
    ...{
      last_contact_reason: unread,
      last_probe_at: unread,
      last_probe_ok: unread,
      last_probe_reason: unread,
    },
    ...{ last_probe_ms: unread, is_active: unread },
    id: unread,
    segment_id: refused('(select max(id) from segments)'),
    // The run has its own copy of it.
    name: asSigned(`case name when 'web-1' then 'other' else name end`),
    host: refused(text),
    port: refused('2022'),
    credential_id: refused(`(select id from credentials where name = 'second')`),
    labels: refused(`'{"env": "test"}'`),
    operating_system: refused(text),
    settings: refused(`'{"username": "root"}'`),
  },
  segments: {
    ...{
      description: unread,
      unknown_after_s: unread,
      root_mode: unread,
      root_key: unread,
      root_key_sealed: unread,
    },
    ...{ roster_number: unread, roster_payload: unread, roster_signature: unread, key_generation: unread },
    ...{ created_at: unread, key_rotation_wanted_at: unread, recovery_key: unread },
    id: unread,
    name: refused(text),
    settings: refused(`'{"keepalive_interval": 99}'`),
    // The target has its own, which takes precedence.
    credential_id: asSigned(`(select id from credentials where name = 'second')`),
  },
  target_groups: {
    ...{
      id: unread,
      name: unread,
      description: unread,
      selector: unread,
      created_by: unread,
      created_at: unread,
    },
    ...{ updated_at: unread },
    priority: asSigned('9'),
    settings: refused(`'{"connect_timeout": 99}'`),
  },
  target_group_members: { target_group_id: unread, target_id: refused('(select max(id) from targets)') },
  target_host_keys: {
    ...{
      target_id: unread,
      key_type: unread,
      seen_at: unread,
      accepted_at: unread,
      accepted_by: unread,
      source: unread,
    },
    fingerprint: asSigned(text),
    public_key: refused(`'ssh-ed25519 OTHER'`),
    state: refused(`'pending'`),
  },
  segment_host_trust: {
    ...{ id: unread, key_type: unread, note: unread, created_at: unread, created_by: unread },
    segment_id: refused('(select max(id) from segments)'),
    kind: refused(`'revoked'`),
    hosts: refused(`'*.other.example,web-1.example'`),
    fingerprint: asSigned(text),
    public_key: refused(`'ssh-ed25519 OTHER'`),
  },
  credentials: {
    ...{ description: unread, created_by: unread, created_at: unread, expires_on: unread },
    ...{ id: unread, segment_id: unread, name: asSigned(`name || ' of another name'`) },
    kind: refused(`'ssh_private_key'`),
    version: notHandedOut('2'),
  },
  credential_versions: {
    ...{ credential_id: unread, version: unread, created_at: unread },
    generation: asSigned('2'),
    sealed: refused(envelope),
  },
  users: {
    ...{
      id: unread,
      password_hash: unread,
      is_active: unread,
      created_at: unread,
      kind: unread,
      updated_at: unread,
    },
    ...{ display_name: unread, description: unread, last_sign_in_at: unread },
    name: refused(`name || ' or another'`),
  },
};

let t: TestRuns;
let guard: GrantGuard;
let leaseBy: (sql: Sql) => Promise<Lease | undefined>;
const refusals: Refusal[] = [];

beforeAll(async () => {
  t = await setupRuns();
  await t.connect(t.agent, { capabilities: [...agentCapabilities, 'signed_runs_only'] });
  const { sql, segmentId } = t;
  const own = { ...(await sealedCredentialRequest(t, segmentId)), name: 'own' };
  const credential = await createCredential(sql, own, t.caller);
  const second = { ...(await sealedCredentialRequest(t, segmentId)), name: 'second' };
  await createCredential(sql, second, t.caller);
  const target = async (name: string, more: object = {}) =>
    createTarget(
      sql,
      { segmentId, name, host: `${name}.example`, credentialId: credential.id, ...more } as never,
      t.caller,
    );
  await target('jump');
  const settings = { jump_hosts: ['jump'] };
  const { id: targetId } = await target('web-1', { port: 2222, labels: { env: 'prod' }, settings });
  await target('elsewhere');
  await sql`insert into target_host_keys (target_id, fingerprint, key_type, public_key, state, accepted_at)
    values (${targetId}, 'SHA256:x', 'ssh-ed25519', 'ssh-ed25519 AAAA', 'accepted', now())`;
  await sql`insert into segment_host_trust (segment_id, kind, hosts, key_type, fingerprint, public_key)
    values (${segmentId}, 'authority', '*.example', 'ssh-ed25519', 'SHA256:ca', 'ssh-ed25519 CA')`;
  await makeSegment(t, 'other');
  await sql`insert into users (name) values ('eve')`;
  await sql`with g as (insert into target_groups (name, settings) values ('web', '{"connect_timeout": 7}') returning id)
    insert into target_group_members (target_group_id, target_id) select g.id, ${targetId} from g`;
  const definition = {
    name: 'Restart',
    parameters: { service: { type: 'string' as const }, token: { type: 'string' as const, secret: true } },
    steps: [
      {
        name: 'restart',
        type: 'ssh.exec' as const,
        when: 'target.labels.env == "prod"',
        config: { command: 'systemctl restart "${{ parameters.service }}"' },
      },
      { name: 'look', type: 'ssh.exec' as const, config: { command: 'uptime' } },
    ],
  };
  const { id: jobId } = await createJob(t, definition, t.caller);
  await createJob(t, { ...definition, name: 'Another' }, t.caller);
  const sealed = await sealSecrets(sql, {
    ...{ installationId: t.identity.installationId, jobId, segmentIds: [segmentId] },
    plain: new Map([['token', 'correct horse']]),
  });
  const secretParameters = {
    id: sealed?.id ?? '',
    values: { token: (sealed?.secrets ?? []).map(({ segmentId, sealed }) => ({ segmentId, sealed })) },
  };
  const asked = {
    ...{ jobId, selection: { targetIds: [targetId] }, secretParameters },
    parameters: { service: 'nginx' },
  };
  await expect(startRun(t, asked as never, t.caller)).rejects.toThrow('run only what is signed');
  const draft = await prepareGrant(t, asked as never, t.caller);
  const keys = await generateSigningKeyPair();
  const [notBefore, expiresAt] = [new Date(Date.now() - 60_000), new Date(Date.now() + 3_600_000)];
  const grant = await signGrant(draft, { privateKey: keys.privateKey, class: 'cli', notBefore, expiresAt });
  await sql`update targets set port = port + 1 where id = ${targetId}`;
  await expect(startRun(t, { ...asked, grant } as never, t.caller)).rejects.toThrow(
    'reaches[0].target.port differs',
  );
  await sql`update targets set port = port - 1 where id = ${targetId}`;
  await startRun(t, { ...asked, grant } as never, t.caller);
  const claimed = await t.claimOne();
  const { details: _, ...bare } = claimed;
  leaseBy = async (db) => {
    // Not using anything that this process has read before.
    const builder = new LeaseBuilder({ sql: db, masterKey: { ...t.masterKey } });
    const [row] = await db<{ stepNumber: number; stepType: string; jobRunId: number }[]>`
      select step_number, step_type, job_run_id from job_run_steps where id = ${claimed.id}`;
    const { leases } = await builder.build([{ ...bare, ...row } as never]);
    return leases.get(claimed.id);
  };
  guard = new GrantGuard({
    identity: { installationId: t.identity.installationId, segmentId, agentId: t.agent.agentId },
    rule: { signers: [{ name: 'lead', public_key: encodeBase64(keys.publicKey) }] },
    policy: new PolicyGuard({ policy: { fileRoots: [] }, onRefusal: (refusal) => refusals.push(refusal) }),
    journal: { grants: new GrantBegins(), note: () => undefined },
    now: () => new Date(),
  });
  await sql`insert into job_versions (job_id, version, definition, checksum, step_names, step_types, step_credentials, step_rules, created_by)
    select job_id, 2, definition, checksum, step_names, step_types, step_credentials, step_rules, created_by from job_versions where job_id = ${jobId}`;
  await liftConstraints(sql);
});
/** Anyone who can write to the database can also remove its constraints and triggers. */
async function liftConstraints(sql: Sql): Promise<void> {
  const tables = Object.keys(columns);
  const found = await sql<{ table: string; name: string }[]>`
    select conrelid::regclass::text as "table", conname as name from pg_constraint
    where conrelid::regclass::text = any(${tables}) and contype in ('c', 'f', 'u')`;
  for (const { table, name } of found)
    await sql.unsafe(`alter table ${table} drop constraint if exists "${name}" cascade`);
  for (const table of tables) await sql.unsafe(`alter table ${table} disable trigger user`);
}

afterAll(() => t[Symbol.asyncDispose]());

test('unaltered, the signed run is carried out', async () => {
  const lease = await leaseBy(t.sql);
  if (lease === undefined) throw new Error('Nothing was handed out');
  expect(lease.target.jumps).toHaveLength(1);
  await guard.check(lease);
  expect(refusals).toEqual([]);
});

test('every column of the tables that shape a run is in one of the lists', async () => {
  const rows = await t.sql<{ table: string; column: string }[]>`
    select table_name as "table", column_name as "column" from information_schema.columns
    where table_schema = 'public' and table_name = any(${Object.keys(columns)})`;
  const unlisted = rows.filter(({ table, column }) => !Object.hasOwn(columns[table] ?? {}, column));
  expect(unlisted).toEqual([]);
});

const alterations = Object.entries(columns).flatMap(([table, of]) =>
  Object.entries(of).flatMap(([column, alteration]) =>
    alteration === undefined ? [] : [[table, column, alteration] as const],
  ),
);

test.each(alterations)('%s.%s altered', async (table, column, { set, fate }) => {
  const rollback = new Error('rolled back');
  let found: Fate | string = '';
  await t.sql
    .begin(async (tx) => {
      await tx.unsafe(`update ${table} set ${column} = ${set}`);
      found = await fateOf(tx as unknown as Sql);
      throw rollback;
    })
    .catch((error: unknown) => {
      if (error !== rollback) throw error;
    });
  expect(found).toBe(fate);
});

async function fateOf(sql: Sql): Promise<Fate | string> {
  const lease = await leaseBy(sql).catch(() => undefined);
  if (lease === undefined) return 'not handed out';
  const before = refusals.length;
  try {
    await guard.check(lease);
    return 'as signed';
  } catch (error) {
    expect(error).toMatchObject({ reason: 'policy_refused' });
    // The owner of the machine has a record of it, whatever the server does with it.
    expect(refusals.length).toBe(before + 1);
    return 'refused';
  }
}
