// A drained agent takes nothing new and finishes what it has. Claims and completions read its row, so this applies
// whichever server it is connected to and however often it reconnects.
import type { AgentDetail, PutAgentLabelsRequest } from '@opsconductor/protocol';
import type { Caller } from '../../caller.ts';
import { refuseChanged } from '../../conflicts/refuse-changed.ts';
import { setDrain, setLabels } from '../../store/agents/agent-lifecycle.ts';
import type { Sql } from '../../store/database/connection.ts';
import { notifyProgress } from '../../store/runs/progress/progress-notices.ts';
import { refuseUnstorableText } from '../../validation/storable-text.ts';
import { changeAgent, refuseRevoked } from './change-agent.ts';

/** @throws {AppError} like `changeAgent`; `conflict` for a revoked agent. */
export function drainAgent(sql: Sql, id: number, caller: Caller): Promise<AgentDetail> {
  return changeAgent(sql, id, caller, async (tx, agent) => {
    refuseRevoked(agent);
    if (agent.drainRequestedAt !== null) return { action: undefined };
    await setDrain(tx, id, true);
    return { action: 'agent.drained' };
  });
}

/** @throws {AppError} like `changeAgent`; `conflict` for a revoked agent. */
export function undrainAgent(sql: Sql, id: number, caller: Caller): Promise<AgentDetail> {
  return changeAgent(sql, id, caller, async (tx, agent, segment) => {
    refuseRevoked(agent);
    if (agent.drainRequestedAt === null) return { action: undefined };
    await setDrain(tx, id, false);
    await notifyProgress(tx, { segments: [segment.id] });
    return { action: 'agent.undrained' };
  });
}

/**
 * Replaces the labels of an agent.
 * @throws {AppError} like `changeAgent`; `conflict` if they are not as expected.
 */
export function putAgentLabels(
  sql: Sql,
  id: number,
  { labels, expected }: PutAgentLabelsRequest,
  caller: Caller,
): Promise<AgentDetail> {
  refuseUnstorableText(labels, 'labels');
  return changeAgent(sql, id, caller, async (tx, agent) => {
    refuseChanged(`Agent ${agent.name}`, { labels: agent.labels }, expected);
    await setLabels(tx, id, labels);
    return { action: 'agent.labelled', detail: { from: agent.labels, to: labels } };
  });
}
