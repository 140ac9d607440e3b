// The pages of the console. Each is loaded when it is first needed, so that none waits for the code of all the others.
import type { Component } from 'svelte';
import { consoleCode } from '../api/console-code.ts';
import { matchRoute, type PageName } from '../routes.ts';
import { linkWithin } from '../state/link-within.ts';

/** What a page about one thing is given. */
export interface OneProps {
  /** Id in the path. */
  id: number;
  part: PageName;
  /** Second number from the path. */
  version: number | undefined;
}

export type LoadedPage = { plain: Component } | { ofOne: Component<OneProps> };

const plain = (load: () => Promise<{ default: Component }>) => async (): Promise<LoadedPage> => ({
  plain: (await load()).default,
});
const ofOne = (load: () => Promise<{ default: Component<OneProps> }>) => async (): Promise<LoadedPage> => ({
  ofOne: (await load()).default,
});
const job = ofOne(() => import('./job/JobPage.svelte'));

/** The sign-in page isn't among them, because it stands in for all of them. */
const loaders: Readonly<Record<Exclude<PageName, 'sign-in' | 'not-found'>, () => Promise<LoadedPage>>> = {
  jobs: plain(() => import('./jobs/JobsPage.svelte')),
  starters: plain(() => import('./jobs/starters/StartersPage.svelte')),
  'from-starter': ofOne(() => import('./jobs/starters/FromStarterPage.svelte')),
  'jobs-health': plain(() => import('./jobs/health/JobsHealthPage.svelte')),
  'import-jobs': plain(() => import('./job-imports/ImportJobsPage.svelte')),
  'site-rules': plain(() => import('./site-rules/SiteRulesPage.svelte')),
  'new-site-rule': plain(() => import('./site-rules/SiteRulePage.svelte')),
  'site-rule': ofOne(() => import('./site-rules/SiteRulePage.svelte')),
  'new-job': plain(() => import('../editor/JobEditor.svelte')),
  'edit-job': ofOne(() => import('../editor/JobEditor.svelte')),
  runs: plain(() => import('./runs/RunsPage.svelte')),
  run: ofOne(() => import('./run/RunPage.svelte')),
  queue: plain(() => import('./runs/QueuePage.svelte')),
  targets: plain(() => import('./targets/TargetsPage.svelte')),
  inventories: plain(() => import('./inventories/InventoriesPage.svelte')),
  'new-inventory': plain(() => import('./inventories/NewInventoryPage.svelte')),
  inventory: ofOne(() => import('./inventories/InventoryPage.svelte')),
  scans: plain(() => import('./host-keys/ScansPage.svelte')),
  scan: ofOne(() => import('./host-keys/ScanPage.svelte')),
  'known-hosts': plain(() => import('./host-keys/KnownHostsPage.svelte')),
  'host-trust': plain(() => import('./host-keys/HostTrustPage.svelte')),
  'target-groups': plain(() => import('./target-groups/TargetGroupsPage.svelte')),
  'new-target-group': plain(() => import('./target-groups/EditTargetGroupPage.svelte')),
  'target-group': ofOne(() => import('./target-groups/TargetGroupPage.svelte')),
  'edit-target-group': ofOne(() => import('./target-groups/EditTargetGroupPage.svelte')),
  agents: plain(() => import('./agents/AgentsPage.svelte')),
  agent: ofOne(() => import('./agents/AgentPage.svelte')),
  credentials: plain(() => import('./credentials/CredentialsPage.svelte')),
  categories: plain(() => import('./jobs/CategoriesPage.svelte')),
  files: plain(() => import('./files/FilesPage.svelte')),
  people: plain(() => import('./people/PeoplePage.svelte')),
  user: ofOne(() => import('./people/UserPage.svelte')),
  'user-groups': plain(() => import('./people/UserGroupsPage.svelte')),
  'user-group': ofOne(() => import('./people/UserGroupPage.svelte')),
  permissions: plain(() => import('./people/PermissionsPage.svelte')),
  audit: plain(() => import('./audit/AuditPage.svelte')),
  account: plain(() => import('./people/AccountPage.svelte')),
  job,
  'job-versions': job,
  'job-version': job,
  'job-comparison': job,
  'job-history': job,
  'job-statistics': job,
};

// By loader, as some pages are parts of one.
const loaded = new Map<() => Promise<LoadedPage>, LoadedPage>();

type LoadablePage = keyof typeof loaders;

/** Whether there is such a page. */
export function hasPage(page: PageName): page is LoadablePage {
  return page in loaders;
}

/** Returns the page if it has been loaded. */
export function loadedPage(page: LoadablePage): LoadedPage | undefined {
  return loaded.get(loaders[page]);
}

/** Rejects with an ApiError if the server does not answer, or has another version by now. */
export async function loadPage(page: LoadablePage): Promise<LoadedPage> {
  const load = loaders[page];
  const found = await consoleCode(load);
  loaded.set(load, found);
  return found;
}

/** Loads the page that a link leads to while the pointer or the focus is on the link. */
export function loadAhead(event: Event): void {
  const to = linkWithin(event.target);
  if (to === undefined) return;
  const { page } = matchRoute(to.pathname);
  // Should this fail, opening the page tries it again and says why.
  if (hasPage(page) && loadedPage(page) === undefined) loadPage(page).catch(() => {});
}
