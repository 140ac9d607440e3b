import type {
  ApproveHostKeysReply,
  ApproveHostKeysRequest,
  CreateHostScanRequest,
  HostScan,
  HostScanDetail,
  HostScanItem,
  ScanFinding,
} from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import type { Page, PageQuery } from '../page.ts';

/** Lists the scans of the last 30 days, newest first. */
export function listScans(query: PageQuery, signal?: AbortSignal): Promise<Page<HostScan>> {
  return request('GET', apiPaths.hostScans({ ...query }), { signal });
}

export function startScan(scan: CreateHostScanRequest): Promise<HostScanDetail> {
  return request('POST', apiPaths.hostScans(), { body: scan });
}

export function fetchScan(id: number, signal?: AbortSignal): Promise<HostScanDetail> {
  return request('GET', apiPaths.hostScan(id), { signal });
}

export interface ScanItemFilter {
  finding?: ScanFinding | undefined;
  /** Only targets that share a key with another target. */
  shared?: boolean | undefined;
  search?: string | undefined;
}

/** Lists the targets of a scan, by name. */
export function listScanItems(
  id: number,
  query: PageQuery & ScanItemFilter,
  signal?: AbortSignal,
): Promise<Page<HostScanItem>> {
  return request('GET', apiPaths.hostScanItems(id, { ...query }), { signal });
}

/** Cancels a scan. What it has found so far is kept. */
export function cancelScan(id: number): Promise<HostScanDetail> {
  return request('POST', apiPaths.cancelHostScan(id), { body: {} });
}

/** Accepts exactly the keys that the person was shown, or none of them. */
export function approveKeys(id: number, keys: ApproveHostKeysRequest): Promise<ApproveHostKeysReply> {
  return request('POST', apiPaths.approveHostScan(id), { body: keys });
}
