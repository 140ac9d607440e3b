import type { Agent, AgentDetail, Labels } from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import { readAll } from '../page.ts';

/** What a person can decide about an agent. */
export type AgentDecision = 'drain' | 'undrain' | 'disable' | 'enable' | 'new-keys' | 'revoke';

/** Returns all agents except revoked ones, or only the revoked ones; of one segment if `segmentId` is given. */
export function listAgents(
  signal?: AbortSignal,
  among: { state?: 'revoked'; segmentId?: number } = {},
): Promise<Agent[]> {
  return readAll((query) => apiPaths.agents({ ...query, ...among }), { signal });
}

export function fetchAgent(id: number, signal?: AbortSignal): Promise<AgentDetail> {
  return request('GET', apiPaths.agent(id), { signal });
}

export function decideAgent(id: number, decision: AgentDecision): Promise<AgentDetail> {
  return request('POST', apiPaths.agentDecision(id, decision), { body: {} });
}

export function putAgentLabels(id: number, labels: Labels): Promise<AgentDetail> {
  return request('PUT', apiPaths.agentLabels(id), { body: { labels } });
}
