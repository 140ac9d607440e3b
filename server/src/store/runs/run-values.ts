// Values of runs: what they were given, and what their steps have handed on.
import type { SealedEnvelope } from '@opsconductor/protocol/sealing';
import type { Queryable, Tx } from '../database/connection.ts';

export interface SealedRunSecret {
  segmentId: number;
  name: string;
  sealed: SealedEnvelope;
}

/** Stores secret values of a run, each sealed to a segment. */
export async function insertRunSecrets(
  tx: Tx,
  runId: number,
  secrets: readonly SealedRunSecret[],
): Promise<void> {
  if (secrets.length === 0) return;
  await tx`
    insert into job_run_secrets (job_run_id, segment_id, name, sealed)
    select ${runId}, c."segmentId", c.name, c.sealed
    from jsonb_to_recordset(${tx.json(secrets as never)}::jsonb) as c("segmentId" bigint, name text, sealed jsonb)`;
}

export interface RunValuesRow {
  id: number;
  jobId: number;
  jobVersion: number;
  dataKey: string;
  /** Encrypted with the data key; `null` for a run that was given nothing. */
  parameters: Buffer | null;
  secretsId: string | null;
  createdAt: Date;
  createdBy: string | null;
}

/** Returns what runs were given. */
export async function findRunValues(db: Queryable, runIds: readonly number[]): Promise<RunValuesRow[]> {
  if (runIds.length === 0) return [];
  return db<RunValuesRow[]>`
    select r.id, r.job_id, r.job_version, r.data_key, r.parameters, r.secrets_id, r.created_at, u.name as created_by
    from job_runs r left join users u on u.id = r.created_by
    where r.id = any(${runIds as number[]}::bigint[])`;
}

/** Returns the secret values of a run, for one segment or for all. */
export async function findRunSecrets(
  db: Queryable,
  runId: number,
  segmentId?: number,
): Promise<SealedRunSecret[]> {
  return db<SealedRunSecret[]>`
    select segment_id, name, sealed from job_run_secrets
    where job_run_id = ${runId} ${segmentId === undefined ? db`` : db`and segment_id = ${segmentId}`}
    order by segment_id, name`;
}

export interface RenderedTargetRow {
  stepId: number;
  targetRunId: number;
  segmentId: number;
  segmentName: string;
  os: string;
  labels: Record<string, string>;
}

/** Returns what placeholders may use of the targets of these steps, besides what a lease contains anyway. */
export async function findRenderedTargets(
  db: Queryable,
  stepIds: readonly number[],
): Promise<RenderedTargetRow[]> {
  if (stepIds.length === 0) return [];
  return db<RenderedTargetRow[]>`
    select st.id as step_id, st.target_run_id, tr.segment_id, sg.name as segment_name, t.operating_system as os, t.labels
    from job_run_steps st
    join job_run_targets tr on tr.id = st.target_run_id
    join segments sg on sg.id = tr.segment_id
    join targets t on t.id = tr.target_id
    where st.id = any(${stepIds as number[]}::bigint[])`;
}

export interface StepOutputsRow {
  stepId: number;
  epoch: number;
  targetRunId: number;
  stepNumber: number;
  /** Encrypted with the run's data key. */
  outputs: Buffer | null;
  secrets: Record<string, { id: string; sealed: SealedEnvelope }> | null;
}

/** Returns what the steps of these target runs have handed on. */
export async function findStepOutputs(
  db: Queryable,
  targetRunIds: readonly number[],
): Promise<StepOutputsRow[]> {
  if (targetRunIds.length === 0) return [];
  return db<StepOutputsRow[]>`
    select o.job_run_step_id as step_id, o.epoch, st.target_run_id, st.step_number, o.outputs, o.secrets
    from job_run_steps st join job_run_step_outputs o on o.job_run_step_id = st.id
    where st.target_run_id = any(${targetRunIds as number[]}::bigint[])
    order by st.target_run_id, st.step_number`;
}

export interface NewStepOutputs {
  stepId: number;
  epoch: number;
  outputs: Buffer | null;
  secrets: StepOutputsRow['secrets'];
}

/** Stores what steps hand on, replacing what an earlier attempt had handed on. */
export async function writeStepOutputs(tx: Tx, rows: readonly NewStepOutputs[]): Promise<void> {
  if (rows.length === 0) return;
  const told = rows.map((row) => ({ ...row, outputs: row.outputs?.toString('base64') ?? null }));
  await tx`
    insert into job_run_step_outputs (job_run_step_id, epoch, outputs, secrets)
    select c."stepId", c.epoch, decode(c.outputs, 'base64'), c.secrets
    from jsonb_to_recordset(${tx.json(told as never)}::jsonb) as c(
      "stepId" bigint, epoch integer, outputs text, secrets jsonb)
    on conflict (job_run_step_id) do update
    set epoch = excluded.epoch, outputs = excluded.outputs, secrets = excluded.secrets`;
}

/** Returns, for the steps that a rerun leaves out, what the same steps handed on in the previous run. */
export async function findOutputsBefore(
  tx: Tx,
  { from, to }: { from: number; to: number },
): Promise<(Pick<StepOutputsRow, 'stepId' | 'epoch' | 'outputs' | 'secrets'> & { newStepId: number })[]> {
  return tx`
    select st.id as new_step_id, o.job_run_step_id as step_id, o.epoch, o.outputs, o.secrets
    from job_run_steps st
    join job_run_targets tr on tr.id = st.target_run_id
    join job_run_targets before on before.job_run_id = ${from} and before.target_id = tr.target_id
    join job_run_steps same on same.target_run_id = before.id and same.step_number = st.step_number
    join job_run_step_outputs o on o.job_run_step_id = same.id
    where st.job_run_id = ${to} and st.status = 'skipped' and st.reason = 'rerun'`;
}

export interface StepPlace {
  runId: number;
  jobId: number;
  jobVersion: number;
  stepNumber: number;
  /** Stored size of what the other steps of its target run have handed on. */
  outputBytesBefore: number;
}

/** Returns which step of which job version a step is, or `undefined` if it no longer exists. */
export async function findStepPlace(db: Queryable, stepId: number): Promise<StepPlace | undefined> {
  const [row] = await db<StepPlace[]>`
    select st.job_run_id as run_id, r.job_id, r.job_version, st.step_number, (
        select coalesce(sum(coalesce(octet_length(o.outputs), 0) + coalesce(octet_length(o.secrets::text), 0)), 0)::int
        from job_run_steps other join job_run_step_outputs o on o.job_run_step_id = other.id
        where other.target_run_id = st.target_run_id and other.id <> st.id) as output_bytes_before
    from job_run_steps st join job_runs r on r.id = st.job_run_id where st.id = ${stepId}`;
  return row;
}

export interface SegmentKeyNow {
  segmentId: number;
  segmentName: string;
  generation: number | null;
  publicKey: Buffer | null;
  rootKey: Buffer;
  rosterPayload: string | null;
  rosterSignature: string | null;
  keyRotationWantedAt: Date | null;
}

/** Returns the newest key of each of these segments. */
export async function findSegmentKeysNow(
  db: Queryable,
  segmentIds: readonly number[],
): Promise<SegmentKeyNow[]> {
  return db<SegmentKeyNow[]>`
    select s.id as segment_id, s.name as segment_name, k.generation, k.public_key, s.root_key, s.roster_payload,
      s.roster_signature, s.key_rotation_wanted_at
    from segments s left join segment_keys k on k.segment_id = s.id and k.generation = s.key_generation
    where s.id = any(${segmentIds as number[]}::bigint[]) order by s.id`;
}
