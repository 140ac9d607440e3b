import type {
  BulkTargetReply,
  BulkTargetRequest,
  CreateTargetRequest,
  EffectiveSettings,
  LabelsInUse,
  OperatingSystem,
  SelectTargetsReply,
  SelectTargetsRequest,
  Target,
  TargetHealth,
  TargetKeyState,
  TargetPage,
  TestResult,
  UpdateTargetRequest,
} from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import { type PageQuery, readAll } from '../page.ts';

export interface TargetFilter {
  search?: string | undefined;
  segmentId?: number | undefined;
  selector?: string | undefined;
  operatingSystem?: OperatingSystem | undefined;
  health?: TargetHealth | undefined;
  hostKey?: TargetKeyState | undefined;
  isActive?: boolean | undefined;
  groupId?: number | undefined;
}

/** Lists a page of targets, by name. `count` asks for the total over all pages. */
export function listTargets(
  query: PageQuery & TargetFilter & { count?: boolean },
  signal?: AbortSignal,
): Promise<TargetPage> {
  return request('GET', apiPaths.targets({ ...query }), { signal });
}

/** Reads all targets, up to `atMost`. */
export function readTargets(
  atMost: number,
  filter: TargetFilter = {},
  signal?: AbortSignal,
): Promise<Target[]> {
  return readAll((query) => apiPaths.targets({ ...query, ...filter }), { atMost, signal });
}

export function createTarget(target: CreateTargetRequest): Promise<Target> {
  return request('POST', apiPaths.targets(), { body: target });
}

export function updateTarget(id: number, target: UpdateTargetRequest): Promise<Target> {
  return request('PUT', apiPaths.target(id), { body: target });
}

/** Returns what a selection would resolve to now. */
export function selectTargets(
  selection: SelectTargetsRequest,
  signal?: AbortSignal,
): Promise<SelectTargetsReply> {
  return request('POST', apiPaths.selectTargets(), { body: selection, harmless: true, signal });
}

/** Applies one change to all selected targets; with `dryRun`, only counts them. */
export function changeTargets(change: BulkTargetRequest, signal?: AbortSignal): Promise<BulkTargetReply> {
  return request('POST', apiPaths.changeTargets(), {
    body: change,
    harmless: change.dryRun === true,
    signal,
  });
}

/** Returns the labels in use, each with its most used values. */
export async function listLabels(signal?: AbortSignal): Promise<LabelsInUse['items']> {
  return (await request<LabelsInUse>('GET', apiPaths.targetLabels(), { signal })).items;
}

export function fetchTarget(id: number, signal?: AbortSignal): Promise<Target> {
  return request('GET', apiPaths.target(id), { signal });
}

/** Returns a target's effective settings and where each comes from, without regard to any job. */
export function fetchEffectiveSettings(id: number, signal?: AbortSignal): Promise<EffectiveSettings> {
  return request('GET', apiPaths.targetEffectiveSettings(id), { signal });
}

export function deleteTarget(id: number): Promise<void> {
  return request('DELETE', apiPaths.target(id));
}

export function testTarget(id: number, signal?: AbortSignal): Promise<TestResult> {
  return request('POST', apiPaths.targetTest(id), { body: {}, harmless: true, signal });
}

/** Accepts a host key that an agent saw. `replaces` is the fingerprint of the accepted key that it replaces. */
export function acceptHostKey(id: number, fingerprint: string, replaces?: string): Promise<Target> {
  return request('POST', apiPaths.targetHostKeys(id), {
    body: replaces === undefined ? { fingerprint } : { fingerprint, replaces },
  });
}
