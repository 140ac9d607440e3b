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

/** Returns the host authorities and revoked host keys of a segment. */
export function listHostTrust(segmentId: number, signal?: AbortSignal): Promise<HostTrust[]> {
  return readWhole(apiPaths.hostTrust(segmentId), signal);
}

export function addHostTrust(segmentId: number, entry: CreateHostTrustRequest): Promise<HostTrust> {
  return request('POST', apiPaths.hostTrust(segmentId), { body: entry });
}

export function removeHostTrust(segmentId: number, entry: number): Promise<void> {
  return request('DELETE', apiPaths.hostTrustEntry(segmentId, entry));
}

/** Returns what applying a known_hosts file would do; changes nothing. */
export function planKnownHosts(file: PlanKnownHostsRequest, signal?: AbortSignal): Promise<KnownHostsPlan> {
  return request('POST', apiPaths.planKnownHosts(), { body: file, harmless: true, signal });
}

/** Does exactly what the plan showed, or nothing. */
export function applyKnownHosts(file: ApplyKnownHostsRequest): Promise<KnownHostsPlan> {
  return request('POST', apiPaths.applyKnownHosts(), { body: file });
}
