import type {
  HostKey,
  InheritedSettings,
  Labels,
  OperatingSystem,
  Selector,
  TargetHealth,
  TargetKeyState,
  TargetSettings,
} from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import { type Queryable, type Tx, unprepared } from '../database/connection.ts';
import { containsPattern, decodeCursor } from '../database/cursor.ts';
import { type Condition, targetWithin } from '../people/visibility.ts';
import { inheritedCredential, mergedSettings } from './effective-settings.ts';
import { selectorCondition } from './selector-condition.ts';

export interface TargetFields {
  name: string;
  host: string;
  port: number | null;
  credentialId: string | null;
  operatingSystem: OperatingSystem;
  labels: Labels;
  description: string;
  settings: TargetSettings;
  isActive: boolean;
}

export interface TargetRow extends TargetFields {
  id: number;
  segmentId: number;
  segmentName: string;
  credentialName: string | null;
  groups: { id: number; name: string }[];
  /** Its own and inherited settings, without its own port. */
  mergedSettings: InheritedSettings;
  effectiveCredentialId: string | null;
  effectiveCredentialName: string | null;
  lastContactAt: Date | null;
  lastContactOk: boolean | null;
  lastContactReason: string | null;
  lastProbeAt: Date | null;
  lastProbeOk: boolean | null;
  lastProbeReason: string | null;
  lastProbeMs: number | null;
  createdAt: Date;
  updatedAt: Date;
}

const columns = [
  'name',
  'host',
  'port',
  'credentialId',
  'operatingSystem',
  'labels',
  'description',
  'settings',
  'isActive',
] as const;

export async function insertTarget(tx: Tx, target: TargetFields & { segmentId: number }): Promise<number> {
  const [row] = await tx<{ id: number }[]>`
    insert into targets ${tx(target as never, 'segmentId', ...columns)} returning id`;
  if (row === undefined) throw new Error('insert returned nothing');
  return row.id;
}

export async function updateTarget(tx: Tx, id: number, target: TargetFields): Promise<void> {
  await tx`update targets set ${tx(target as never, ...columns)}, updated_at = clock_timestamp() where id = ${id}`;
}

export async function deleteTargets(tx: Tx, ids: readonly number[]): Promise<void> {
  await tx`delete from targets where id = any(${ids as number[]}::bigint[])`;
}

/** Returns a target within these reaches, by id, or `undefined` if there is none. */
export async function findTarget(
  sql: Queryable,
  id: number,
  reaches: readonly Reach[],
): Promise<TargetRow | undefined> {
  const [row] = await sql<TargetRow[]>`
    ${selectTargets(sql, sql`select t.* from targets t where t.id = ${id} and ${targetWithin(sql, reaches)}`)}`;
  return row;
}

/** Locks a target's row; everyone who changes it or its host keys holds this lock. */
export async function lockTarget(
  tx: Tx,
  id: number,
  reaches: readonly Reach[],
): Promise<TargetRow | undefined> {
  const locked = await tx`select 1 from targets where id = ${id} for update`;
  return locked.length === 0 ? undefined : findTarget(tx, id, reaches);
}

/** Returns those of these targets that lie outside the reaches, with their names. */
export async function targetsOutside(
  sql: Queryable,
  ids: readonly number[],
  reaches: readonly Reach[],
): Promise<{ id: number; name: string }[]> {
  return sql<{ id: number; name: string }[]>`
    select t.id, t.name from targets t
    where t.id = any(${ids as number[]}::bigint[]) and not ${targetWithin(sql, reaches)} order by t.name, t.id`;
}

/** Returns the first two segments, by name, that contain any of these targets. */
export async function segmentsOfTargets(
  sql: Queryable,
  ids: readonly number[],
): Promise<{ id: number; name: string }[]> {
  return sql<{ id: number; name: string }[]>`
    select s.id, s.name from segments s
    where exists (select from targets t where t.segment_id = s.id and t.id = any(${ids as number[]}::bigint[]))
    order by s.name limit 2`;
}

export interface TargetFilter {
  segmentId?: number | undefined;
  groupId?: number | undefined;
  selector?: Selector | undefined;
  operatingSystem?: OperatingSystem | undefined;
  isActive?: boolean | undefined;
  health?: TargetHealth | undefined;
  hostKey?: TargetKeyState | undefined;
  search?: string | undefined;
}

/** Returns targets within these reaches, by name, one more than `limit` if there are more. */
export async function listTargets(
  sql: Queryable,
  filter: TargetFilter & { limit: number; cursor?: string | undefined },
  reaches: readonly Reach[],
): Promise<TargetRow[]> {
  const { limit, cursor } = filter;
  const after = cursor === undefined ? undefined : decodeCursor(cursor, ['string', 'number'] as const);
  const page = sql`
    select t.* from targets t
     where ${filtered(sql, filter, reaches)}
       and ${after === undefined ? sql`true` : sql`(t.name, t.id) > (${after[0]}, ${after[1]})`}
     order by t.name, t.id
     limit ${limit + 1}`;
  const query = sql<TargetRow[]>`${selectTargets(sql, page)} order by t.name, t.id`;
  return filter.selector === undefined ? query : unprepared(query);
}

export async function countTargets(
  sql: Queryable,
  filter: TargetFilter,
  reaches: readonly Reach[],
): Promise<number> {
  const query = sql<{ count: number }[]>`
    select count(*)::int as count from targets t where ${filtered(sql, filter, reaches)}`;
  const [row] = await (filter.selector === undefined ? query : unprepared(query));
  return row?.count ?? 0;
}

const healthConditions: Record<TargetHealth, string> = {
  ok: 't.last_contact_ok',
  failing: 'not t.last_contact_ok',
  never: 't.last_contact_ok is null',
};

function filtered(sql: Queryable, filter: TargetFilter, reaches: readonly Reach[]): Condition {
  const { segmentId, groupId, selector, operatingSystem, isActive, health, hostKey, search } = filter;
  const conditions: Condition[] = [targetWithin(sql, reaches)];
  if (segmentId !== undefined) conditions.push(sql`t.segment_id = ${segmentId}`);
  if (groupId !== undefined) {
    conditions.push(sql`t.id in (select fm.target_id from target_group_members fm
      where fm.target_group_id = ${groupId})`);
  }
  if (selector !== undefined) conditions.push(selectorCondition(sql, selector));
  if (operatingSystem !== undefined) conditions.push(sql`t.operating_system = ${operatingSystem}`);
  if (isActive !== undefined) conditions.push(sql`t.is_active = ${isActive}`);
  if (health !== undefined) conditions.push(sql`${sql.unsafe(healthConditions[health])}`);
  if (hostKey !== undefined) conditions.push(keyCondition(sql, hostKey));
  if (search !== undefined && search !== '') {
    const pattern = containsPattern(search);
    conditions.push(sql`(t.name ilike ${pattern} or t.host ilike ${pattern})`);
  }
  return conditions.reduce((both, one) => sql`${both} and ${one}`);
}

function keyCondition(sql: Queryable, state: TargetKeyState): Condition {
  // Sets, so that each is read once for any number of targets.
  const has = (one: HostKey['state']) =>
    sql`t.id in (select k.target_id from target_host_keys k where k.state = ${one})`;
  switch (state) {
    case 'changed':
      return has('changed');
    case 'accepted':
      return sql`${has('accepted')} and not ${has('changed')}`;
    case 'pending':
      return sql`${has('pending')} and not ${has('accepted')} and not ${has('changed')}`;
    case 'none':
      return sql`t.id not in (select k.target_id from target_host_keys k)`;
  }
}

/** Looks up what belongs to targets only for those that the inner query returns. */
function selectTargets(sql: Queryable, inner: Condition) {
  return sql`
    with t as materialized (${inner})
    select t.id, t.segment_id, sg.name as segment_name, t.name, t.host, t.port, t.credential_id,
           c.name as credential_name, t.operating_system, t.labels, t.description, t.settings, t.is_active,
           t.last_contact_at, t.last_contact_ok, t.last_contact_reason, t.last_probe_at, t.last_probe_ok,
           t.last_probe_reason, t.last_probe_ms, t.created_at, t.updated_at,
           coalesce((select jsonb_agg(jsonb_build_object('id', g.id, 'name', g.name) order by g.name, g.id)
             from target_group_members m join target_groups g on g.id = m.target_group_id
             where m.target_id = t.id), '[]') as groups,
           ${mergedSettings(sql)} as merged_settings,
           e.id as effective_credential_id, e.name as effective_credential_name
      from t
      join segments sg on sg.id = t.segment_id
      left join credentials c on c.id = t.credential_id
      left join credentials e on e.id = ${inheritedCredential(sql)}`;
}

/** Returns the first of the targets on which an open run has work, or `undefined` if there is none. */
export async function findOpenRunOf(
  sql: Queryable,
  targetIds: readonly number[],
): Promise<{ runId: number; targetName: string } | undefined> {
  const [row] = await sql<{ runId: number; targetName: string }[]>`
    select r.id as run_id, tr.target_name from job_runs r join job_run_targets tr on tr.job_run_id = r.id
     where r.status in ('queued', 'running', 'cancelling', 'held')
       and tr.target_id = any(${targetIds as number[]}::bigint[])
     order by r.id, tr.id limit 1`;
  return row;
}
