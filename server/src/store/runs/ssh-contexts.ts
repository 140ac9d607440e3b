// The SSH connections that carried the steps of a run.
import type { Reach } from '../../auth/authority.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { targetRunWithin } from '../people/visibility.ts';

/**
 * Counts what an attempt did on the SSH connection that carried it. Agents choose the names of connections, so several
 * may share a name; a run has one row per name.
 */
export async function recordSshContexts(
  tx: Tx,
  contexts: readonly {
    jobRunId: number;
    targetId: number | null;
    agentId: number;
    sessionId: string;
    establishedAt: string;
    commands: number;
    files: number;
    bytes: number;
  }[],
): Promise<void> {
  if (contexts.length === 0) return;
  await tx`
    insert into ssh_execution_context (job_run_id, target_id, session_id, agent_id, connection_established_at,
      commands_executed, files_transferred, total_bytes_transferred)
    select c."jobRunId", max(c."targetId"), c."sessionId", max(c."agentId"), max(c."establishedAt"), sum(c.commands),
      least(sum(c.files), 2147483647), least(sum(c.bytes), 9007199254740991)
    from jsonb_to_recordset(${tx.json(contexts as never)}::jsonb) as c(
      "jobRunId" bigint, "targetId" bigint, "sessionId" text, "agentId" bigint, "establishedAt" timestamptz, commands integer,
      files bigint, bytes bigint)
    group by c."jobRunId", c."sessionId"
    on conflict (job_run_id, session_id) do update set
      commands_executed = ssh_execution_context.commands_executed + excluded.commands_executed,
      files_transferred = least(ssh_execution_context.files_transferred::bigint + excluded.files_transferred, 2147483647),
      total_bytes_transferred = least(
        ssh_execution_context.total_bytes_transferred + excluded.total_bytes_transferred, 9007199254740991)`;
}

export interface SshConnectionRow {
  id: number;
  targetRunId: number;
  targetName: string;
  agentName: string | null;
  sessionId: string;
  establishedAt: Date | null;
  commandsExecuted: number;
  filesTransferred: number;
  totalBytesTransferred: number;
}

/** Returns those of a run's connections whose target runs may be seen, in the order in which they were recorded. */
export async function listSshConnections(
  db: Queryable,
  filter: { runId: number; targetRunId: number | undefined; above: number; limit: number },
  reaches: readonly Reach[],
): Promise<SshConnectionRow[]> {
  const { targetRunId } = filter;
  return db<SshConnectionRow[]>`
    select c.id, tr.id as target_run_id, tr.target_name, a.name as agent_name, c.session_id,
      c.connection_established_at as established_at, c.commands_executed, c.files_transferred, c.total_bytes_transferred
    from ssh_execution_context c
    join job_run_targets tr on tr.job_run_id = c.job_run_id and tr.target_id = c.target_id
    join job_runs r on r.id = c.job_run_id
    join jobs j on j.id = r.job_id
    left join agents a on a.id = c.agent_id
    where c.job_run_id = ${filter.runId} and c.id > ${filter.above} and ${targetRunWithin(db, reaches)}
      ${targetRunId === undefined ? db`` : db`and tr.id = ${targetRunId}`}
    order by c.id limit ${filter.limit}`;
}
