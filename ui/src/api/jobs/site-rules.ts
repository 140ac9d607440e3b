import type {
  CreateSiteRuleRequest,
  SiteRule,
  SiteRuleViolationPage,
  UpdateSiteRuleRequest,
} from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import { type PageQuery, readAll } from '../page.ts';

export function listSiteRules(signal?: AbortSignal): Promise<SiteRule[]> {
  return readAll((query) => apiPaths.siteRules(query), { signal });
}

export function fetchSiteRule(id: number, signal?: AbortSignal): Promise<SiteRule> {
  return request('GET', apiPaths.siteRule(id), { signal });
}

export function createSiteRule(body: CreateSiteRuleRequest): Promise<SiteRule> {
  return request('POST', apiPaths.siteRules(), { body });
}

/** Updates a rule. Refused if it has changed again since the version that this change is based on. */
export function updateSiteRule(id: number, body: UpdateSiteRuleRequest): Promise<SiteRule> {
  return request('PUT', apiPaths.siteRule(id), { body });
}

export function deleteSiteRule(id: number): Promise<void> {
  return request('DELETE', apiPaths.siteRule(id));
}

/** Returns the jobs that would break a rule whose current text isn't saved. */
export function trySiteRule(
  rule: CreateSiteRuleRequest,
  { limit, cursor }: PageQuery,
  signal?: AbortSignal,
): Promise<SiteRuleViolationPage> {
  const page = { ...(limit === undefined ? {} : { limit }), ...(cursor === undefined ? {} : { cursor }) };
  return request('POST', apiPaths.trySiteRule(), { body: { rule, ...page }, harmless: true, signal });
}
