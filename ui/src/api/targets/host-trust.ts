import type {
  ApplyKnownHostsRequest,
  CreateHostTrustRequest,
  HostTrust,
  KnownHostsPlan,
  PlanKnownHostsRequest,
} from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import { readWhole } from '../page.ts';

/** Host authorities and revoked host keys of a segment. */
export function listHostTrust(segmentId: number, signal?: AbortSignal): Promise<HostTrust[]> {
  return readWhole(apiPaths.hostTrust(segmentId), signal);
}

export function addHostTrust(segmentId: number, entry: CreateHostTrustRequest): Promise<HostTrust> {
  return request('POST', apiPaths.hostTrust(segmentId), { body: entry });
}

export function removeHostTrust(segmentId: number, entry: number): Promise<void> {
  return request('DELETE', apiPaths.hostTrustEntry(segmentId, entry));
}

/** What a known_hosts file would do; nothing changes. */
export function planKnownHosts(file: PlanKnownHostsRequest, signal?: AbortSignal): Promise<KnownHostsPlan> {
  return request('POST', apiPaths.planKnownHosts(), { body: file, harmless: true, signal });
}

/** Does what a plan has shown, or nothing. */
export function applyKnownHosts(file: ApplyKnownHostsRequest): Promise<KnownHostsPlan> {
  return request('POST', apiPaths.applyKnownHosts(), { body: file });
}
