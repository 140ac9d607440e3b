import type { Agent, EnrollmentTokenReply, SealingKey, Segment } from '@opsconductor/protocol';
import { apiPaths } from '../paths.ts';
import { request } from './client.ts';
import { readWhole } from './page.ts';

export function listSegments(signal?: AbortSignal): Promise<Segment[]> {
  return readWhole(apiPaths.segments(), signal);
}

export function createSegment(segment: {
  name: string;
  description?: string;
  unknownAfter?: number;
}): Promise<Segment> {
  return request('POST', apiPaths.segments(), { body: segment });
}

export function createEnrollmentToken(segmentId: number): Promise<EnrollmentTokenReply> {
  return request('POST', apiPaths.enrollmentTokens(segmentId), { body: {} });
}

export function fetchSealingKey(segmentId: number): Promise<SealingKey> {
  return request('GET', apiPaths.sealingKey(segmentId));
}

export function listAgents(signal?: AbortSignal): Promise<Agent[]> {
  return readWhole(apiPaths.agents(), signal);
}
