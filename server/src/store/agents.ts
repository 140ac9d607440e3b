import type { Reach } from '../auth/authority.ts';
import type { Queryable, Tx } from './connection.ts';
import { segmentWithin } from './visibility.ts';

export interface AgentRow {
  id: number;
  segmentId: number;
  name: string;
  signingKey: Buffer;
  encryptionKey: Buffer;
  state: 'active' | 'disabled' | 'quarantined' | 'revoked';
  sessionNumber: number;
}

const columns = ['id', 'segment_id', 'name', 'signing_key', 'encryption_key', 'state', 'session_number'];

export async function insertAgent(
  tx: Tx,
  agent: {
    segmentId: number;
    name: string;
    signingKey: Uint8Array;
    encryptionKey: Uint8Array;
    version: string;
    platform: string;
    address: string;
  },
): Promise<number> {
  const [row] = await tx<{ id: number }[]>`
    insert into agents ${tx(agent, 'segmentId', 'name', 'signingKey', 'encryptionKey', 'version', 'platform', 'address')}
    returning id`;
  if (row === undefined) throw new Error('insert returned nothing');
  return row.id;
}

export async function findAgent(sql: Queryable, id: number): Promise<AgentRow | undefined> {
  const [row] = await sql<AgentRow[]>`select ${sql(columns)} from agents where id = ${id}`;
  return row;
}

/** All agents of a segment in whatever state, by id. */
export async function listSegmentAgents(sql: Queryable, segmentId: number): Promise<AgentRow[]> {
  return sql<AgentRow[]>`select ${sql(columns)} from agents where segment_id = ${segmentId} order by id`;
}

export interface AgentOverviewRow {
  id: number;
  name: string;
  segmentId: number;
  segmentName: string;
  state: 'connected' | 'draining' | 'silent' | 'offline' | 'disabled' | 'quarantined';
  since: Date | null;
  slots: number;
  slotsInUse: number;
  lastHeartbeatAt: Date | null;
  version: string;
  platform: string;
  hostname: string | null;
  address: string | null;
  spoolBytes: number | null;
  rssBytes: number | null;
  hasSegmentKey: boolean;
  unknownSteps: number;
  signingKey: Buffer;
  enrolledAt: Date;
}

/**
 * Every agent in segments within the reaches, by segment and name, its state by the database's clock: `silent` is an agent that vanished without
 * saying so and whose attempts are not unknown yet; after the segment's `unknown_after_s` it is `offline`.
 */
export async function listAgentOverviews(
  sql: Queryable,
  reaches: readonly Reach[],
): Promise<AgentOverviewRow[]> {
  return sql<AgentOverviewRow[]>`
    with unknown_steps as (
      -- From the open runs that have one: attempts have no index by agent, and most runs have no unknown.
      select t.agent_id, count(*)::int as steps
        from job_runs r
        join job_run_steps s on s.job_run_id = r.id and s.status in ('unknown', 'held')
        join job_run_step_attempts t on t.job_run_step_id = s.id and t.epoch = s.epoch
       where r.status in ('queued', 'running', 'cancelling', 'held')
         and (r.targets_unknown > 0 or r.status = 'held')
         and t.status = 'unknown' and t.late_status is null
       group by t.agent_id
    ), running_steps as (
      select agent_id, count(*)::int as steps from job_run_steps where status = 'running' group by agent_id
    ), presence as (
      select a.id,
             case when a.state in ('disabled', 'revoked') then 'disabled'
                  when a.state = 'quarantined' then 'quarantined'
                  when g.agent_id is null then 'offline'
                  when g.disconnected_at is null and g.expires_at > clock_timestamp()
                    then case when g.draining then 'draining' else 'connected' end
                  when g.clean_shutdown then 'offline'
                  when g.last_heartbeat_at + sg.unknown_after_s * interval '1 second' > clock_timestamp() then 'silent'
                  else 'offline' end as state
        from agents a join segments sg on sg.id = a.segment_id left join agent_sessions g on g.agent_id = a.id
    )
    select a.id, a.name, a.segment_id, sg.name as segment_name, p.state,
           case when p.state in ('connected', 'draining') then g.connected_at
                when p.state in ('silent', 'offline') then coalesce(g.disconnected_at, g.last_heartbeat_at) end as since,
           coalesce(g.slots, 0) as slots, coalesce(rs.steps, 0) as slots_in_use, g.last_heartbeat_at,
           a.version, a.platform, a.hostname, a.address, g.spool_bytes, g.rss_bytes,
           exists (select 1 from segment_key_wraps w
                    where w.agent_id = a.id and w.generation = sg.key_generation and w.opened_at is not null)
             as has_segment_key,
           coalesce(us.steps, 0) as unknown_steps, a.signing_key, a.enrolled_at
      from agents a
      join segments sg on sg.id = a.segment_id
      join presence p on p.id = a.id
      left join agent_sessions g on g.agent_id = a.id
      left join unknown_steps us on us.agent_id = a.id
      left join running_steps rs on rs.agent_id = a.id
     where ${segmentWithin(sql, reaches, 'a.segment_id')}
     order by sg.name, a.name, a.id`;
}
