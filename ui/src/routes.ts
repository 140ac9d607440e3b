// The map of the console: which page is at which path, and which permission it needs.
import type { Permission } from '@opsconductor/protocol';
import { paths } from './paths.ts';

export type PageName =
  | 'jobs'
  | 'job'
  | 'job-versions'
  | 'job-version'
  | 'job-comparison'
  | 'job-history'
  | 'job-statistics'
  | 'new-job'
  | 'starters'
  | 'from-starter'
  | 'jobs-health'
  | 'import-jobs'
  | 'site-rules'
  | 'new-site-rule'
  | 'site-rule'
  | 'edit-job'
  | 'runs'
  | 'run'
  | 'queue'
  | 'targets'
  | 'target-groups'
  | 'target-group'
  | 'new-target-group'
  | 'edit-target-group'
  | 'inventories'
  | 'new-inventory'
  | 'inventory'
  | 'scans'
  | 'scan'
  | 'known-hosts'
  | 'host-trust'
  | 'agents'
  | 'agent'
  | 'credentials'
  | 'categories'
  | 'files'
  | 'people'
  | 'user'
  | 'user-groups'
  | 'user-group'
  | 'permissions'
  | 'audit'
  | 'account'
  | 'sign-in'
  | 'not-found';

export interface Route {
  page: PageName;
  /** Id in the path, if the page has one. */
  id?: number;
  /** Second number from the path: the version of a job. */
  version?: number;
}

const table: readonly (readonly [RegExp, PageName])[] = [
  [/^\/(?:jobs)?$/, 'jobs'],
  [/^\/jobs\/new$/, 'new-job'],
  [/^\/jobs\/starters$/, 'starters'],
  [/^\/jobs\/starters\/([1-9][0-9]{0,14})$/, 'from-starter'],
  [/^\/jobs\/health$/, 'jobs-health'],
  [/^\/jobs\/import$/, 'import-jobs'],
  [/^\/jobs\/rules$/, 'site-rules'],
  [/^\/jobs\/rules\/new$/, 'new-site-rule'],
  [/^\/jobs\/rules\/([1-9][0-9]{0,14})$/, 'site-rule'],
  [/^\/jobs\/([1-9][0-9]{0,14})$/, 'job'],
  [/^\/jobs\/([1-9][0-9]{0,14})\/versions$/, 'job-versions'],
  [/^\/jobs\/([1-9][0-9]{0,14})\/versions\/([1-9][0-9]{0,8})$/, 'job-version'],
  [/^\/jobs\/([1-9][0-9]{0,14})\/compare$/, 'job-comparison'],
  [/^\/jobs\/([1-9][0-9]{0,14})\/history$/, 'job-history'],
  [/^\/jobs\/([1-9][0-9]{0,14})\/statistics$/, 'job-statistics'],
  [/^\/jobs\/([1-9][0-9]{0,14})\/edit$/, 'edit-job'],
  [/^\/runs$/, 'runs'],
  [/^\/runs\/queue$/, 'queue'],
  [/^\/runs\/([1-9][0-9]{0,14})$/, 'run'],
  [/^\/targets$/, 'targets'],
  [/^\/targets\/groups$/, 'target-groups'],
  [/^\/targets\/groups\/new$/, 'new-target-group'],
  [/^\/targets\/groups\/([1-9][0-9]{0,14})$/, 'target-group'],
  [/^\/targets\/groups\/([1-9][0-9]{0,14})\/edit$/, 'edit-target-group'],
  [/^\/targets\/inventories$/, 'inventories'],
  [/^\/targets\/inventories\/new$/, 'new-inventory'],
  [/^\/targets\/inventories\/([1-9][0-9]{0,14})$/, 'inventory'],
  [/^\/targets\/scans$/, 'scans'],
  [/^\/targets\/scans\/([1-9][0-9]{0,14})$/, 'scan'],
  [/^\/targets\/known-hosts$/, 'known-hosts'],
  [/^\/targets\/host-trust$/, 'host-trust'],
  [/^\/agents$/, 'agents'],
  [/^\/agents\/([1-9][0-9]{0,14})$/, 'agent'],
  [/^\/credentials$/, 'credentials'],
  [/^\/categories$/, 'categories'],
  [/^\/files$/, 'files'],
  [/^\/people$/, 'people'],
  [/^\/people\/users\/([1-9][0-9]{0,14})$/, 'user'],
  [/^\/people\/groups$/, 'user-groups'],
  [/^\/people\/groups\/([1-9][0-9]{0,14})$/, 'user-group'],
  [/^\/people\/permissions$/, 'permissions'],
  [/^\/audit$/, 'audit'],
  [/^\/account$/, 'account'],
  [/^\/sign-in$/, 'sign-in'],
];

/**
 * The permission that each page needs, held on any scope. A person without it isn't shown the page, so that the page
 * sends no requests that would be refused: every refusal is recorded in the audit log.
 */
export const pageNeeds: Readonly<Partial<Record<PageName, Permission>>> = {
  jobs: 'read',
  job: 'read',
  'job-versions': 'read',
  'job-version': 'read',
  'job-comparison': 'read',
  'job-history': 'read',
  'job-statistics': 'read',
  'new-job': 'jobs.edit',
  starters: 'read',
  'from-starter': 'jobs.edit',
  'jobs-health': 'read',
  'import-jobs': 'jobs.edit',
  'site-rules': 'site_rules.edit',
  'new-site-rule': 'site_rules.edit',
  'site-rule': 'site_rules.edit',
  'edit-job': 'jobs.edit',
  runs: 'read',
  run: 'read',
  queue: 'read',
  targets: 'read',
  'target-groups': 'read',
  'target-group': 'read',
  'new-target-group': 'target_groups.edit',
  'edit-target-group': 'target_groups.edit',
  inventories: 'read',
  'new-inventory': 'targets.edit',
  inventory: 'read',
  scans: 'read',
  scan: 'read',
  'known-hosts': 'host_keys.approve',
  'host-trust': 'read',
  agent: 'read',
  agents: 'read',
  credentials: 'read',
  categories: 'read',
  files: 'read',
  people: 'people.edit',
  user: 'people.edit',
  'user-groups': 'people.edit',
  'user-group': 'people.edit',
  audit: 'audit.read',
};

/** Paths that are no page and that people type all the same, as other things have such paths, with where they lead. */
const typed: readonly (readonly [RegExp, (id: number, query: Record<string, string>) => string])[] = [
  // A target opens beside the list.
  [/^\/targets\/([1-9][0-9]{0,14})$/, (id, query) => paths.targets({ ...query, open: id })],
  [/^\/people\/([1-9][0-9]{0,14})$/, (id) => paths.user(id)],
  [/^\/people\/users$/, (_, query) => paths.people(query)],
];

/** Returns the place that is meant by a path that is no page; undefined if it is one, or nothing is known to be meant. */
export function meantPlace({ pathname, searchParams, hash }: URL): string | undefined {
  for (const [pattern, place] of typed) {
    const found = pattern.exec(withoutSlash(pathname));
    if (found !== null) return place(Number(found[1]), Object.fromEntries(searchParams)) + hash;
  }
  return undefined;
}

function withoutSlash(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, '') : path;
}

export function matchRoute(path: string): Route {
  const clean = withoutSlash(path);
  for (const [pattern, page] of table) {
    const found = pattern.exec(clean);
    if (found === null) continue;
    const [, id, version] = found;
    if (id === undefined) return { page };
    return version === undefined
      ? { page, id: Number(id) }
      : { page, id: Number(id), version: Number(version) };
  }
  return { page: 'not-found' };
}
