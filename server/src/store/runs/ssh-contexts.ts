// The SSH connections that carried the commands of a run.
import type { Tx } from '../database/connection.ts';

/**
 * Counts a command on the SSH connection that carried it. Agents choose the names of connections, so several may share
 * a name; a run has one row per name.
 */
export async function recordSshContexts(
  tx: Tx,
  contexts: readonly {
    jobRunId: number;
    targetId: number | null;
    agentId: number;
    sessionId: string;
    establishedAt: string;
    files: number;
    bytes: number;
  }[],
): Promise<void> {
  if (contexts.length === 0) return;
  await tx`
    insert into ssh_execution_context (job_run_id, target_id, session_id, agent_id, connection_established_at,
      commands_executed, files_transferred, total_bytes_transferred)
    select c."jobRunId", max(c."targetId"), c."sessionId", max(c."agentId"), max(c."establishedAt"), count(*),
      least(sum(c.files), 2147483647), least(sum(c.bytes), 9007199254740991)
    from jsonb_to_recordset(${tx.json(contexts as never)}::jsonb) as c(
      "jobRunId" bigint, "targetId" bigint, "sessionId" text, "agentId" bigint, "establishedAt" timestamptz, files bigint, bytes bigint)
    group by c."jobRunId", c."sessionId"
    on conflict (job_run_id, session_id) do update set
      commands_executed = ssh_execution_context.commands_executed + excluded.commands_executed,
      files_transferred = least(ssh_execution_context.files_transferred::bigint + excluded.files_transferred, 2147483647),
      total_bytes_transferred = least(
        ssh_execution_context.total_bytes_transferred + excluded.total_bytes_transferred, 9007199254740991)`;
}
