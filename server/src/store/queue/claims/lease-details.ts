// What an agent needs besides the lease itself: where the target is, which host keys are accepted, the sealed
// credential.
import type { InheritedSettings } from '@opsconductor/protocol';
import type { Queryable } from '../../database/connection.ts';
import { type TrustEntry, trustOfSegment } from '../../host-keys/host-trust.ts';
import { inheritedCredential, mergedSettings, namedCredential } from '../../targets/effective-settings.ts';

export interface LeaseDetails {
  stepId: number;
  jobId: number;
  jobVersion: number;
  stepNumber: number;
  targetId: number | null;
  /** `null` if the target was deleted. */
  targetSegmentId: number | null;
  targetName: string;
  host: string | null;
  /** The target's own port; `null` if it has none. */
  port: number | null;
  /** The target's own and inherited settings, without its own port; `null` if the target was deleted. */
  settings: InheritedSettings | null;
  hostKeys: string[];
  /** Host authorities and revoked keys of the target's segment. */
  hostTrust: TrustEntry[];
  /** Name of the credential that the step or its job asks for. */
  askedCredential: string | null;
  credentialId: string | null;
  credentialVersion: number | null;
  credentialKind: string | null;
  /** Whether the run was signed. */
  isSigned: boolean;
}

/** Returns a row for each step. If the target was deleted, its columns are null. */
export async function leaseDetails(db: Queryable, stepIds: readonly number[]): Promise<LeaseDetails[]> {
  return db<LeaseDetails[]>`
    select ${leaseDetailColumns(db)}, st.step_number
    from job_run_steps st ${leaseDetailJoins(db)}
    where st.id = any(${stepIds as number[]}::bigint[])`;
}

/** Columns for a select from steps `st` with `leaseDetailJoins`; the caller adds `step_number`. */
export function leaseDetailColumns(db: Queryable) {
  return db`st.id as step_id, r.job_id, r.job_version, t.id as target_id, t.segment_id as target_segment_id, tr.target_name, t.host, t.port,
    ${mergedSettings(db)} as settings, v.step_credentials[st.step_number] as asked_credential,
    array(select coalesce(k.public_key, k.fingerprint) from target_host_keys k
      where k.target_id = t.id and k.state = 'accepted' order by k.fingerprint) as host_keys,
    ${trustOfSegment(db, db`t.segment_id`)} as host_trust,
    c.id as credential_id, c.version as credential_version, c.kind as credential_kind, r.signed_grant is not null as is_signed`;
}

/** SQL: what the columns of a lease are read from, joined to the step `st`. */
export function leaseDetailJoins(db: Queryable) {
  return db`join job_runs r on r.id = st.job_run_id
    join job_run_targets tr on tr.id = st.target_run_id ${reachJoins(db)}`;
}

function reachJoins(db: Queryable) {
  const asked = db`v.step_credentials[st.step_number]`;
  return db`join job_versions v on v.job_id = r.job_id and v.version = r.job_version
    left join targets t on t.id = tr.target_id
    left join segments sg on sg.id = t.segment_id
    left join credentials c on c.id = case when v.step_credentials[st.step_number] is null
      then ${inheritedCredential(db)} else ${namedCredential(db, asked)} end`;
}

/** Returns what the leases of a run that does not exist yet would say now: a row for each target and step. */
export async function plannedDetails(
  db: Queryable,
  plan: { jobId: number; jobVersion: number; targetIds: readonly number[]; stepNumbers: readonly number[] },
): Promise<LeaseDetails[]> {
  return db<LeaseDetails[]>`
    select ${leaseDetailColumns(db)}, st.step_number
    from (select ${plan.jobId}::bigint as job_id, ${plan.jobVersion}::integer as job_version, null::bytea as signed_grant) r
    cross join (select id as target_id, name as target_name from targets
      where id = any(${plan.targetIds as number[]}::bigint[])) tr
    cross join (select 0 as id, n as step_number from unnest(${plan.stepNumbers as number[]}::integer[]) n) st
    ${reachJoins(db)}
    order by tr.target_id, st.step_number`;
}

/** Returns the current version of the credential with this name in a segment. */
export async function credentialByName(
  db: Queryable,
  segmentId: number,
  name: string,
): Promise<{ id: string; version: number; kind: string } | undefined> {
  const [row] = await db<{ id: string; version: number; kind: string }[]>`
    select id, version, kind from credentials where segment_id = ${segmentId} and name = ${name}`;
  return row;
}

/** Returns a sealed credential version. It is immutable, so it may be cached. */
export async function sealedCredential(db: Queryable, id: string, version: number): Promise<unknown> {
  const rows = await db<{ sealed: unknown }[]>`
    select sealed from credential_versions where credential_id = ${id} and version = ${version}`;
  return rows[0]?.sealed;
}
