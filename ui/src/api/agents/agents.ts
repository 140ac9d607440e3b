import type { Agent, AgentDetail, PutAgentLabelsRequest } from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import { isUnknownParameter } from '../older-server.ts';
import { readAll } from '../page.ts';

/** What a person can decide about an agent. */
export type AgentDecision = 'drain' | 'undrain' | 'disable' | 'enable' | 'new-keys' | 'revoke';

/** As many as the server takes in one request. */
const maxSegments = 200;

/**
 * Returns the agents of these segments, except revoked ones, or only the revoked ones; and those of others too if there
 * are too many segments to ask about, or the server is of the previous version.
 */
export async function listAgentsOf(
  segmentIds: readonly number[],
  signal?: AbortSignal,
  among: { state?: 'revoked' } = {},
): Promise<Agent[]> {
  if (segmentIds.length === 0) return [];
  if (segmentIds.length > maxSegments) return listAgents(signal, among);
  try {
    const query = { ...among, segmentIds: segmentIds.join() };
    return await readAll((page) => apiPaths.agents({ ...page, ...query }), { signal });
  } catch (error) {
    if (!isUnknownParameter(error)) throw error;
    return listAgents(signal, among);
  }
}

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

export function putAgentLabels(id: number, change: PutAgentLabelsRequest): Promise<AgentDetail> {
  return request('PUT', apiPaths.agentLabels(id), { body: change });
}
