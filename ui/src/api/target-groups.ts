import type { TargetGroup } from '@opsconductor/protocol';
import { apiPaths } from '../paths.ts';
import { request } from './client.ts';
import type { Page, PageQuery } from './page.ts';

export function listTargetGroups(
  query: PageQuery & { search?: string | undefined },
  signal?: AbortSignal,
): Promise<Page<TargetGroup>> {
  return request('GET', apiPaths.targetGroups({ ...query }), { signal });
}
