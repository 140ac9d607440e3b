import type { Agent } from '@opsconductor/protocol';
import { fingerprint } from '@opsconductor/protocol/sealing';
import type { Reach } from '../auth/authority.ts';
import { type AgentOverviewRow, listAgentOverviews } from '../store/agents.ts';
import type { Queryable } from '../store/connection.ts';

/** Every agent in segments within the reaches, by segment and name, its state as the database's clock has it. */
export async function listAgents(sql: Queryable, reaches: readonly Reach[]): Promise<Agent[]> {
  return Promise.all((await listAgentOverviews(sql, reaches)).map(toAgent));
}

async function toAgent({
  signingKey,
  since,
  lastHeartbeatAt,
  enrolledAt,
  ...row
}: AgentOverviewRow): Promise<Agent> {
  return {
    ...row,
    since: since?.toISOString() ?? null,
    lastHeartbeatAt: lastHeartbeatAt?.toISOString() ?? null,
    fingerprint: await fingerprint(signingKey),
    enrolledAt: enrolledAt.toISOString(),
  };
}
