import type {
  EnrollmentTokenReply,
  PendingEnrollmentToken,
  PutSegmentSettingsRequest,
  SealingKey,
  Segment,
  SegmentQuery,
  SegmentRecovery,
  SegmentSettings,
} from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { ApiError, request } from '../client.ts';
import { isUnknownParameter } from '../older-server.ts';
import { type Page, type PageQuery, readWhole } from '../page.ts';

export function listSegments(signal?: AbortSignal): Promise<Segment[]> {
  return readWhole(apiPaths.segments(), signal);
}

export type SegmentsQuery = PageQuery & {
  search?: string | undefined;
  searchIn?: SegmentQuery['searchIn'] | undefined;
  permission?: SegmentQuery['permission'] | undefined;
};

/**
 * Returns a page of segments. From a server of the previous version, which takes no query, it has all whose name
 * contains the text, whatever the caller may do there.
 */
export async function findSegments(query: SegmentsQuery, signal?: AbortSignal): Promise<Page<Segment>> {
  try {
    return await request('GET', apiPaths.segments(query), { signal });
  } catch (error) {
    if (!isUnknownParameter(error)) throw error;
    const wanted = query.search?.toLowerCase() ?? '';
    const items = await listSegments(signal);
    return { items: items.filter(({ name }) => name.includes(wanted)), nextCursor: null };
  }
}

export function fetchSegment(id: number, signal?: AbortSignal): Promise<Segment> {
  return request('GET', apiPaths.segment(id), { signal });
}

export function createSegment(segment: {
  name: string;
  description?: string;
  unknownAfter?: number;
}): Promise<Segment> {
  return request('POST', apiPaths.segments(), { body: segment });
}

/** Rejects with `conflict` while anything belongs to the segment; the message says what. */
export function deleteSegment(id: number): Promise<void> {
  return request('DELETE', apiPaths.segment(id));
}

/** Returns the settings that the segment's targets inherit. */
export function fetchSegmentSettings(id: number, signal?: AbortSignal): Promise<SegmentSettings> {
  return request('GET', apiPaths.segmentSettings(id), { signal });
}

export function putSegmentSettings(
  id: number,
  settings: PutSegmentSettingsRequest,
): Promise<SegmentSettings> {
  return request('PUT', apiPaths.segmentSettings(id), { body: settings });
}

export function putUnknownAfter(id: number, unknownAfter: number): Promise<Segment> {
  return request('PUT', apiPaths.unknownAfter(id), { body: { unknownAfter } });
}

/** Returns what is kept for the recovery key of a segment whose root its owner holds. */
export function fetchRecovery(segmentId: number, signal?: AbortSignal): Promise<SegmentRecovery> {
  return request('GET', apiPaths.segmentRecovery(segmentId), { signal });
}

export function createEnrollmentToken(segmentId: number): Promise<EnrollmentTokenReply> {
  return request('POST', apiPaths.enrollmentTokens(segmentId), { body: {} });
}

/** Returns the tokens that were not used and have not expired; `null` from a server of version 0.1.0, which has no such list. */
export async function listEnrollmentTokens(
  segmentId: number,
  signal?: AbortSignal,
): Promise<PendingEnrollmentToken[] | null> {
  try {
    const path = apiPaths.enrollmentTokens(segmentId);
    return (await request<{ items: PendingEnrollmentToken[] }>('GET', path, { signal })).items;
  } catch (error) {
    if (error instanceof ApiError && error.status === 405) return null;
    throw error;
  }
}

export function revokeEnrollmentToken(segmentId: number, id: number): Promise<void> {
  return request('DELETE', apiPaths.enrollmentToken(segmentId, id));
}

export function fetchSealingKey(segmentId: number): Promise<SealingKey> {
  return request('GET', apiPaths.sealingKey(segmentId));
}
