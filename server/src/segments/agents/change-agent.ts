// The frame of every change of an agent: it checks the right, locks the rows, and writes the audit row.
import type { AgentDetail, Permission } from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import { MissingPermission } from '../../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import { AppError, notFound } from '../../errors.ts';
import { lockAgent } from '../../store/agents/agent-sessions.ts';
import { type AgentRow, findAgentWithSegment } from '../../store/agents/agents.ts';
import { lockSegment, type SegmentRow } from '../../store/agents/segments.ts';
import type { Sql, Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { getAgent } from './list-agents.ts';

const managing: Permission = 'agents.manage';

export interface AgentChange {
  /** `agent.drained` and so on; undefined if there was nothing to change. */
  action: string | undefined;
  detail?: Record<string, unknown>;
}

/**
 * Changes one agent while its row and its segment's row are locked, in the same order as in enrollment and claims.
 * @throws {AppError} `not_found`, also if the caller may not read it; `forbidden` without `agents.manage` on its
 * segment; whatever `change` throws.
 */
export async function changeAgent(
  sql: Sql,
  id: number,
  caller: Caller,
  change: (tx: Tx, agent: AgentRow, segment: SegmentRow) => Promise<AgentChange>,
): Promise<AgentDetail> {
  await inTransaction(sql, async (tx) => {
    const found = await findAgentWithSegment(tx, id);
    if (found === undefined || !caller.authority.holdsOnSegment('read', found.segmentId)) {
      throw notFound('Agent');
    }
    if (!caller.authority.holdsOnSegment(managing, found.segmentId)) {
      throw new MissingPermission(caller, managing, `segment “${found.segmentName}”`);
    }
    const segment = await lockSegment(tx, found.segmentId);
    await lockAgent(tx, id);
    const agent = await findAgentWithSegment(tx, id);
    if (segment === undefined || agent === undefined) throw notFound('Agent');
    const { action, detail } = await change(tx, agent, segment);
    if (action === undefined) return;
    await recordAudit(tx, {
      ...auditedBy(caller),
      action,
      object: { kind: 'agent', id },
      scope: { segmentId: segment.id },
      detail: { name: agent.name, segment: segment.name, ...detail },
    });
  });
  return getAgent(sql, id, unrestricted);
}

/** @throws {AppError} `conflict` for a revoked agent, which is out permanently. */
export function refuseRevoked({ name, state }: Pick<AgentRow, 'name' | 'state'>): void {
  if (state === 'revoked') {
    throw new AppError(
      'conflict',
      `Agent ${name} was revoked, which is permanent. Enroll its machine again.`,
    );
  }
}
