// Agents as people see them: their state by the database's clock, what they hold, what they run.
import type { AgentState, Labels } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable } from '../database/connection.ts';
import { containsPattern, decodeCursor } from '../database/cursor.ts';
import { type Condition, segmentWithin } from '../people/visibility.ts';

export interface AgentOverviewRow {
  id: number;
  name: string;
  segmentId: number;
  segmentName: string;
  state: AgentState;
  since: Date | null;
  drainRequestedAt: Date | null;
  labels: Labels;
  slots: number;
  slotsInUse: number;
  lastHeartbeatAt: Date | null;
  version: string;
  platform: string;
  hostname: string | null;
  address: string | null;
  spoolBytes: number | null;
  rssBytes: number | null;
  loadAverage: number | null;
  busyReason: string | null;
  hasSegmentKey: boolean;
  unknownSteps: number;
  lastCloseAt: Date | null;
  lastCloseSince: Date | null;
  lastCloseCode: number | null;
  lastCloseReason: string | null;
  lastCloseAddress: string | null;
  signingKey: Buffer;
  enrolledAt: Date;
}

export interface AgentFilter {
  id?: number;
  segmentIds?: readonly number[];
  /** Without it, all but revoked agents. */
  state?: AgentState;
  label?: { name: string; value: string | undefined };
  search?: string;
}

/**
 * Returns agents in segments within the reaches, by segment and name, with their state by the database's clock.
 * `silent` is an agent that vanished without saying so and whose attempts are not unknown yet; after the segment's
 * `unknown_after_s` it is `offline`. With a page, returns one more than `limit` if there are more.
 */
export async function listAgentOverviews(
  sql: Queryable,
  reaches: readonly Reach[],
  filter: AgentFilter = {},
  page?: { limit: number; cursor: string | undefined },
): Promise<AgentOverviewRow[]> {
  return sql<AgentOverviewRow[]>`
    with unknown_steps as (
      -- Through the open runs that have such steps: attempts have no index by agent, and most runs have no unknown
      -- ones.
      select t.agent_id, count(*)::int as steps
        from job_runs r
        join job_run_steps s on s.job_run_id = r.id and s.status in ('unknown', 'held')
        join job_run_step_attempts t on t.job_run_step_id = s.id and t.epoch = s.epoch
       where r.status in ('queued', 'running', 'cancelling', 'held')
         and (r.targets_unknown > 0 or r.status = 'held')
         and t.status = 'unknown' and t.late_status is null
       group by t.agent_id
    ), running_steps as (
      select agent_id, count(distinct target_run_id)::int as steps
        from job_run_steps where status = 'running' group by agent_id
    ), presence as (
      select a.id,
             ${stateNow(sql, 'sg')} as state
        from agents a join segments sg on sg.id = a.segment_id left join agent_sessions g on g.agent_id = a.id
    )
    select a.id, a.name, a.segment_id, sg.name as segment_name, p.state,
           case when p.state in ('connected', 'draining') then g.connected_at
                when p.state in ('silent', 'offline') then coalesce(g.disconnected_at, g.last_heartbeat_at)
                else a.state_changed_at end as since,
           a.drain_requested_at, a.labels,
           coalesce(g.slots, 0) as slots, coalesce(rs.steps, 0) as slots_in_use, g.last_heartbeat_at,
           a.version, a.platform, a.hostname, a.address, g.spool_bytes, g.rss_bytes, g.load_average,
           case when p.state in ('connected', 'draining') then g.busy_reason end as busy_reason,
           exists (select 1 from segment_key_wraps w
                    where w.agent_id = a.id and w.generation = sg.key_generation and w.opened_at is not null)
             as has_segment_key,
           coalesce(us.steps, 0) as unknown_steps,
           a.last_close_at, a.last_close_since, a.last_close_code, a.last_close_reason, a.last_close_address,
           a.signing_key, a.enrolled_at
      from agents a
      join segments sg on sg.id = a.segment_id
      join presence p on p.id = a.id
      left join agent_sessions g on g.agent_id = a.id
      left join unknown_steps us on us.agent_id = a.id
      left join running_steps rs on rs.agent_id = a.id
     where ${segmentWithin(sql, reaches, 'a.segment_id')} and ${matches(sql, filter)}
       and ${page?.cursor === undefined ? sql`true` : after(sql, page.cursor)}
     order by sg.name, a.name, a.id
     ${page === undefined ? sql`` : sql`limit ${page.limit + 1}`}`;
}

/** SQL: an agent's state by the database's clock. Aliases: `a` for agents, `g` for their sessions, and the segment's. */
function stateNow(sql: Queryable, segment: string) {
  return sql`
    case when a.state <> 'active' then a.state
         when g.agent_id is null then 'offline'
         when g.disconnected_at is null and g.expires_at > clock_timestamp()
           then case when g.draining or a.drain_requested_at is not null then 'draining' else 'connected' end
         when g.clean_shutdown then 'offline'
         when g.last_heartbeat_at + ${sql.unsafe(segment)}.unknown_after_s * interval '1 second' > clock_timestamp()
           then 'silent'
         else 'offline' end`;
}

/**
 * SQL condition on the segment alias `s`: one of its agents has the text in its name, hostname, address, state or a
 * label. Whoever may read a segment may read its agents.
 */
export function hasAgentLike(sql: Queryable, pattern: string, options: { revoked: boolean }): Condition {
  return sql`exists (
    select from agents a left join agent_sessions g on g.agent_id = a.id
     where a.segment_id = s.id and ${options.revoked ? sql`true` : sql`a.state <> 'revoked'`}
       and (a.name ilike ${pattern} or a.hostname ilike ${pattern} or a.address ilike ${pattern}
            or ${stateNow(sql, 's')} ilike ${pattern}
            or exists (select from jsonb_each_text(a.labels) l
                        where l.key || case when l.value = '' then '' else '=' || l.value end ilike ${pattern})))`;
}

function matches(sql: Queryable, { id, segmentIds, state, label, search }: AgentFilter): Condition {
  return sql`${id === undefined ? sql`true` : sql`a.id = ${id}`}
    and ${segmentIds === undefined ? sql`true` : sql`a.segment_id = any(${segmentIds as number[]}::bigint[])`}
    and ${state === undefined ? (id === undefined ? sql`a.state <> 'revoked'` : sql`true`) : sql`p.state = ${state}`}
    and ${label === undefined ? sql`true` : labelled(sql, label)}
    and ${search === undefined ? sql`true` : found(sql, search)}`;
}

function labelled(sql: Queryable, { name, value }: { name: string; value: string | undefined }): Condition {
  return value === undefined
    ? sql`jsonb_exists(a.labels, ${name})`
    : sql`a.labels @> ${sql.json({ [name]: value })}::jsonb`;
}

function found(sql: Queryable, search: string): Condition {
  const pattern = containsPattern(search);
  return sql`(a.name ilike ${pattern} or a.hostname ilike ${pattern} or a.address ilike ${pattern})`;
}

function after(sql: Queryable, cursor: string): Condition {
  const [segment, name, id] = decodeCursor(cursor, ['string', 'string', 'number'] as const);
  return sql`(sg.name, a.name, a.id) > (${segment}, ${name}, ${id})`;
}

export interface AgentMoreRow {
  connectedAt: Date | null;
  keyGenerations: number[];
  currentGeneration: number;
  remainingAgents: number;
  credentials: number;
  onServerMachine: boolean;
  keysChangedAt: Date | null;
  newKeysWantedAt: Date | null;
}

/** Returns what an agent's page shows besides the overview. */
export async function readAgentMore(sql: Queryable, id: number): Promise<AgentMoreRow> {
  const [row] = await sql<AgentMoreRow[]>`
    select g.connected_at, a.keys_changed_at, a.new_keys_wanted_at, sg.key_generation as current_generation,
           array(select w.generation from segment_key_wraps w
                  where w.agent_id = a.id and w.opened_at is not null order by w.generation) as key_generations,
           (select count(*)::int from agents o
             where o.segment_id = a.segment_id and o.id <> a.id and o.state in ('active', 'disabled')) as remaining_agents,
           (select count(*)::int from credentials c
              join credential_versions v on v.credential_id = c.id and v.version = c.version
              join segment_key_wraps w on w.agent_id = a.id and w.generation = v.generation and w.opened_at is not null
             where c.segment_id = a.segment_id) as credentials,
           -- The host name alone is not enough: machines of two sites may share it.
           coalesce(a.address like any (array['127.%', '::1', '::ffff:127.%']), false) and exists (
             select from server_master_keys k where lower(k.host) = lower(a.hostname)) as on_server_machine
      from agents a join segments sg on sg.id = a.segment_id left join agent_sessions g on g.agent_id = a.id
     where a.id = ${id}`;
  if (row === undefined) throw new Error(`agent ${id} is gone`);
  return row;
}

export interface AgentStepRow {
  runId: number;
  jobName: string;
  targetRunId: number;
  targetName: string;
  stepId: number;
  stepNumber: number;
  stepName: string;
  leasedAt: Date;
  startedAt: Date | null;
}

/** Returns what an agent is running now, oldest first. */
export async function listAgentSteps(
  sql: Queryable,
  agentId: number,
  limit: number,
): Promise<AgentStepRow[]> {
  return sql<AgentStepRow[]>`
    select r.id as run_id, j.name as job_name, tr.id as target_run_id, tr.target_name, st.id as step_id,
           st.step_number, v.step_names[st.step_number] as step_name, st.leased_at, st.started_at
      from job_run_steps st
      join job_run_targets tr on tr.id = st.target_run_id
      join job_runs r on r.id = st.job_run_id
      join jobs j on j.id = r.job_id
      join job_versions v on v.job_id = r.job_id and v.version = r.job_version
     where st.agent_id = ${agentId} and st.status = 'running'
     order by st.leased_at, st.id
     limit ${limit}`;
}
