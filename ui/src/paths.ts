// Every URL of the console and of the API it calls is built here and nowhere else.

type Query = Record<string, string | number | boolean | undefined | null>;

function withQuery(path: string, query: Query): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') search.set(key, String(value));
  }
  // Our queries separate by commas and colons, which are legal in a query (RFC 3986, 3.4) and read better unescaped.
  const text = search.toString().replaceAll('%2C', ',').replaceAll('%3A', ':');
  return text === '' ? path : `${path}?${text}`;
}

export interface RunPlace {
  /** Id of the target run. */
  host?: number | undefined;
  step?: number | undefined;
  attempt?: number | undefined;
  lines?: LineRange | undefined;
  /** What the hosts are filtered by. */
  filter?: string | undefined;
}
export interface LineRange {
  from: number;
  to: number;
}

export interface PeopleQuery {
  /** `service` shows service accounts; otherwise users are shown. */
  kind?: string | undefined;
  search?: string | undefined;
  /** `inactive` or `all`; otherwise the active ones are shown. */
  show?: string | undefined;
  userGroupId?: number | undefined;
}

export interface JobsQuery {
  search?: string | undefined;
  category?: string | undefined;
  /** `name` or `name=value`. */
  label?: string | undefined;
  stepType?: string | undefined;
  state?: string | undefined;
  author?: string | undefined;
  /** Statuses, separated by commas; `none` for jobs that were never run. */
  lastResult?: string | undefined;
  /** `yes` or `no`. */
  template?: string | undefined;
  madeFrom?: number | undefined;
  /** `changed` or `created`; goes with `since`, or with `from` and `to`. */
  when?: string | undefined;
  since?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
  sort?: string | undefined;
}

export interface TargetsQuery {
  search?: string | undefined;
  selector?: string | undefined;
  segmentId?: number | undefined;
  /** Operating system. */
  os?: string | undefined;
  health?: string | undefined;
  hostKey?: string | undefined;
  /** Id of the target that is open next to the list. */
  open?: number | undefined;
}

export interface ScanQuery {
  finding?: string | undefined;
  /** `yes`: only targets that share a key with another. */
  shared?: string | undefined;
  search?: string | undefined;
}

export interface AgentsQuery {
  search?: string | undefined;
  segmentId?: number | undefined;
  state?: string | undefined;
  /** `name` or `name=value`. */
  label?: string | undefined;
}

export interface RunsQuery {
  search?: string | undefined;
  category?: string | undefined;
  /** Statuses, separated by commas. */
  status?: string | undefined;
  createdBy?: string | undefined;
  target?: string | undefined;
  version?: string | undefined;
  jobId?: number | undefined;
  targetId?: number | undefined;
  since?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
  sort?: string | undefined;
}

export const paths = {
  home: () => '/jobs',
  signIn: (back?: string) => withQuery('/sign-in', { back }),
  jobs: (query: JobsQuery = {}) => withQuery('/jobs', { ...query }),
  starters: (query: { search?: string | undefined } = {}) => withQuery('/jobs/starters', query),
  jobsHealth: () => '/jobs/health',
  fromStarter: (id: number) => `/jobs/starters/${id}`,
  /** Importing jobs; with `plan`, an import that was already planned. */
  jobImports: (query: { plan?: string | undefined } = {}) => withQuery('/jobs/import', query),
  siteRules: () => '/jobs/rules',
  newSiteRule: () => '/jobs/rules/new',
  siteRule: (id: number) => `/jobs/rules/${id}`,
  job: (id: number) => `/jobs/${id}`,
  jobVersions: (id: number) => `/jobs/${id}/versions`,
  jobVersion: (id: number, version: number) => `/jobs/${id}/versions/${version}`,
  /** Without `to`, compares with the current version. */
  jobComparison: (
    id: number,
    query: { from?: string | number | undefined; to?: string | number | undefined } = {},
  ) => withQuery(`/jobs/${id}/compare`, query),
  jobHistory: (id: number) => `/jobs/${id}/history`,
  jobStatistics: (id: number, query: { days?: number | undefined } = {}) =>
    withQuery(`/jobs/${id}/statistics`, query),
  /** With `step`, the step of that name is open. */
  editJob: (id: number, query: { step?: string | undefined } = {}) => withQuery(`/jobs/${id}/edit`, query),
  newJob: (query: { from?: number; category?: string | undefined; template?: true } = {}) =>
    withQuery('/jobs/new', query),
  runs: (query: RunsQuery = {}) => withQuery('/runs', { ...query }),
  queue: () => '/runs/queue',
  run: (id: number, place: RunPlace = {}) => {
    const { lines, ...query } = place;
    const path = withQuery(`/runs/${id}`, { ...query });
    return lines === undefined ? path : `${path}#${lineAnchor(lines)}`;
  },
  targets: (query: TargetsQuery = {}) => withQuery('/targets', { ...query }),
  targetGroups: (query: { search?: string } = {}) => withQuery('/targets/groups', query),
  targetGroup: (id: number) => `/targets/groups/${id}`,
  newTargetGroup: () => '/targets/groups/new',
  editTargetGroup: (id: number) => `/targets/groups/${id}/edit`,
  inventories: () => '/targets/inventories',
  /** An inventory's import; with `plan`, one that was already planned. */
  inventory: (id: number, query: { plan?: string | undefined } = {}) =>
    withQuery(`/targets/inventories/${id}`, query),
  newInventory: () => '/targets/inventories/new',
  scans: () => '/targets/scans',
  scan: (id: number, query: ScanQuery = {}) => withQuery(`/targets/scans/${id}`, { ...query }),
  knownHosts: (query: { segmentId?: number | undefined } = {}) => withQuery('/targets/known-hosts', query),
  hostTrust: (query: { segmentId?: number | undefined } = {}) => withQuery('/targets/host-trust', query),
  agents: (query: AgentsQuery = {}) => withQuery('/agents', { ...query }),
  agent: (id: number) => `/agents/${id}`,
  credentials: (
    query: { toRotate?: true; expiring?: true; segmentId?: number | undefined; search?: string } = {},
  ) => withQuery('/credentials', query),
  categories: () => '/categories',
  files: () => '/files',
  people: (query: PeopleQuery = {}) => withQuery('/people', { ...query }),
  user: (id: number) => `/people/users/${id}`,
  userGroups: (query: { search?: string } = {}) => withQuery('/people/groups', query),
  userGroup: (id: number) => `/people/groups/${id}`,
  permissions: () => '/people/permissions',
  audit: (query: Query = {}) => withQuery('/audit', query),
  account: () => '/account',
};

/** `L107` or `L107-115`. */
export function lineAnchor({ from, to }: LineRange): string {
  return from === to ? `L${from}` : `L${from}-${to}`;
}

export function readLineAnchor(hash: string): LineRange | undefined {
  const parts = /^#?L([1-9][0-9]{0,9})(?:-([1-9][0-9]{0,9}))?$/.exec(hash);
  if (parts === null) return undefined;
  const from = Number(parts[1]);
  const to = parts[2] === undefined ? from : Number(parts[2]);
  return from <= to ? { from, to } : { from: to, to: from };
}

/** Reads the code of a one-time sign-in link, `/#code=…`. It is in the fragment so that no server or proxy logs it. */
export function readSignInCode(hash: string): string | undefined {
  return new URLSearchParams(hash.replace(/^#/, '')).get('code') ?? undefined;
}

/** Returns `back` if it is a path within the console to return to after signing in, else the home page. */
export function safeReturnPath(back: string | null | undefined): string {
  if (back === null || back === undefined || !/^\/(?![/\\])/.test(back) || back.startsWith('/sign-in')) {
    return paths.home();
  }
  return back;
}

const root = '/api/v1';
export const apiPaths = {
  exchange: () => `${root}/sign-in/exchange`,
  signIn: () => `${root}/sign-in`,
  signOut: () => `${root}/sign-out`,
  me: () => `${root}/me`,
  password: () => `${root}/me/password`,
  ownSessions: (query: Query = {}) => withQuery(`${root}/me/sessions`, query),
  ownSession: (id: number, query: Query = {}) => withQuery(`${root}/me/sessions/${id}`, query),
  ownEndedMakers: () => `${root}/me/ended-makers`,
  ownMade: (query: Query = {}) => withQuery(`${root}/me/made`, query),
  ownAccess: (query: Query = {}) => withQuery(`${root}/me/access`, query),
  tokens: (query: Query = {}) => withQuery(`${root}/tokens`, query),
  token: (id: number, query: Query = {}) => withQuery(`${root}/tokens/${id}`, query),
  users: (query: Query = {}) => withQuery(`${root}/users`, query),
  user: (id: number) => `${root}/users/${id}`,
  userSignInLink: (id: number) => `${root}/users/${id}/sign-in-link`,
  userUnlock: (id: number) => `${root}/users/${id}/unlock`,
  userSessions: (id: number, query: Query = {}) => withQuery(`${root}/users/${id}/sessions`, query),
  userSession: (id: number, session: number, query: Query = {}) =>
    withQuery(`${root}/users/${id}/sessions/${session}`, query),
  userEndedMakers: (id: number) => `${root}/users/${id}/ended-makers`,
  userMade: (id: number, query: Query = {}) => withQuery(`${root}/users/${id}/made`, query),
  userTokens: (id: number, query: Query = {}) => withQuery(`${root}/users/${id}/tokens`, query),
  userToken: (id: number, token: number, query: Query = {}) =>
    withQuery(`${root}/users/${id}/tokens/${token}`, query),
  userAccess: (id: number, query: Query = {}) => withQuery(`${root}/users/${id}/access`, query),
  userGroups: (query: Query = {}) => withQuery(`${root}/user-groups`, query),
  userGroup: (id: number) => `${root}/user-groups/${id}`,
  userGroupMembers: (id: number, query: Query = {}) => withQuery(`${root}/user-groups/${id}/members`, query),
  userGroupMember: (id: number, user: number) => `${root}/user-groups/${id}/members/${user}`,
  grants: (query: Query = {}) => withQuery(`${root}/grants`, query),
  grant: (id: number) => `${root}/grants/${id}`,
  categories: () => `${root}/categories`,
  category: (id: number, query: Query = {}) => withQuery(`${root}/categories/${id}`, query),
  targetGroups: (query: Query = {}) => withQuery(`${root}/target-groups`, query),
  targetGroup: (id: number) => `${root}/target-groups/${id}`,
  targetGroupEntries: (id: number, query: Query = {}) =>
    withQuery(`${root}/target-groups/${id}/entries`, query),
  inventories: (query: Query = {}) => withQuery(`${root}/inventories`, query),
  inventory: (id: number, query: Query = {}) => withQuery(`${root}/inventories/${id}`, query),
  inventoryPlans: (id: number) => `${root}/inventories/${id}/plan`,
  inventoryPlanHeads: (id: number) => `${root}/inventories/${id}/plans`,
  inventoryPlan: (id: number, plan: string, query: Query = {}) =>
    withQuery(`${root}/inventories/${id}/plans/${encodeURIComponent(plan)}`, query),
  applyPlan: (id: number, plan: string) =>
    `${root}/inventories/${id}/plans/${encodeURIComponent(plan)}/apply`,
  audit: (query: Query = {}) => withQuery(`${root}/audit`, query),
  auditExport: (query: Query = {}) => withQuery(`${root}/audit/export`, query),
  auditCheckpoint: () => `${root}/audit/checkpoints/latest`,
  segments: (query: Query = {}) => withQuery(`${root}/segments`, query),
  segment: (id: number) => `${root}/segments/${id}`,
  segmentSettings: (segmentId: number) => `${root}/segments/${segmentId}/settings`,
  unknownAfter: (segmentId: number) => `${root}/segments/${segmentId}/unknown-after`,
  enrollmentTokens: (segmentId: number) => `${root}/segments/${segmentId}/enrollment-tokens`,
  enrollmentToken: (segmentId: number, id: number) => `${root}/segments/${segmentId}/enrollment-tokens/${id}`,
  segmentRecovery: (segmentId: number) => `${root}/segments/${segmentId}/recovery`,
  sealingKey: (segmentId: number) => `${root}/segments/${segmentId}/sealing-key`,
  agents: (query: Query = {}) => withQuery(`${root}/agents`, query),
  agent: (id: number) => `${root}/agents/${id}`,
  agentDecision: (id: number, decision: string) => `${root}/agents/${id}/${decision}`,
  agentLabels: (id: number) => `${root}/agents/${id}/labels`,
  targets: (query: Query = {}) => withQuery(`${root}/targets`, query),
  target: (id: number) => `${root}/targets/${id}`,
  selectTargets: () => `${root}/targets/select`,
  changeTargets: () => `${root}/targets/bulk`,
  targetLabels: () => `${root}/targets/labels`,
  targetTest: (id: number) => `${root}/targets/${id}/test`,
  targetEffectiveSettings: (id: number) => `${root}/targets/${id}/effective-settings`,
  hostScans: (query: Query = {}) => withQuery(`${root}/host-scans`, query),
  hostScan: (id: number) => `${root}/host-scans/${id}`,
  hostScanItems: (id: number, query: Query = {}) => withQuery(`${root}/host-scans/${id}/items`, query),
  cancelHostScan: (id: number) => `${root}/host-scans/${id}/cancel`,
  approveHostScan: (id: number) => `${root}/host-scans/${id}/approve`,
  hostTrust: (segmentId: number) => `${root}/segments/${segmentId}/host-trust`,
  hostTrustEntry: (segmentId: number, entry: number) => `${root}/segments/${segmentId}/host-trust/${entry}`,
  planKnownHosts: () => `${root}/known-hosts/plan`,
  applyKnownHosts: () => `${root}/known-hosts/apply`,
  targetHostKeys: (id: number) => `${root}/targets/${id}/host-keys`,
  credentials: (query: Query = {}) => withQuery(`${root}/credentials`, query),
  credential: (id: string) => `${root}/credentials/${encodeURIComponent(id)}`,
  credentialUsage: (id: string) => `${root}/credentials/${encodeURIComponent(id)}/usage`,
  credentialVersions: (id: string) => `${root}/credentials/${encodeURIComponent(id)}/versions`,
  jobs: (query: Query = {}) => withQuery(`${root}/jobs`, query),
  jobCounts: () => `${root}/jobs/counts`,
  jobLabels: () => `${root}/jobs/labels`,
  checkJob: () => `${root}/jobs/validate`,
  bulkJobs: () => `${root}/jobs/bulk`,
  exportJobs: (query: Query) => withQuery(`${root}/jobs/export`, query),
  importsOfJobs: (query: Query = {}) => withQuery(`${root}/job-imports`, query),
  importOfJobs: (id: string, query: Query = {}) =>
    withQuery(`${root}/job-imports/${encodeURIComponent(id)}`, query),
  importedJob: (id: string, position: number) =>
    `${root}/job-imports/${encodeURIComponent(id)}/items/${position}`,
  chooseForImport: (id: string) => `${root}/job-imports/${encodeURIComponent(id)}/choices`,
  applyImportOfJobs: (id: string) => `${root}/job-imports/${encodeURIComponent(id)}/apply`,
  siteRules: (query: Query = {}) => withQuery(`${root}/site-rules`, query),
  siteRule: (id: number) => `${root}/site-rules/${id}`,
  trySiteRule: () => `${root}/site-rules/try`,
  job: (id: number) => `${root}/jobs/${id}`,
  jobVersions: (id: number, query: Query = {}) => withQuery(`${root}/jobs/${id}/versions`, query),
  jobVersion: (id: number, version: string | number) =>
    `${root}/jobs/${id}/versions/${encodeURIComponent(version)}`,
  jobComparison: (id: number, query: Query) => withQuery(`${root}/jobs/${id}/compare`, query),
  jobHistory: (id: number, query: Query = {}) => withQuery(`${root}/jobs/${id}/history`, query),
  jobStatistics: (id: number, query: Query = {}) => withQuery(`${root}/jobs/${id}/statistics`, query),
  jobsHealth: (query: Query = {}) => withQuery(`${root}/jobs/health`, query),
  jobHealth: (id: number) => `${root}/jobs/${id}/health`,
  jobState: (id: number) => `${root}/jobs/${id}/state`,
  jobRollback: (id: number) => `${root}/jobs/${id}/rollback`,
  jobTag: (id: number, name: string) => `${root}/jobs/${id}/tags/${encodeURIComponent(name)}`,
  jobChannel: (id: number, name: string) => `${root}/jobs/${id}/channels/${encodeURIComponent(name)}`,
  jobCategory: (id: number) => `${root}/jobs/${id}/category`,
  jobRun: (id: number) => `${root}/jobs/${id}/run`,
  jobGrantDraft: (id: number) => `${root}/jobs/${id}/grant-draft`,
  jobSealingKeys: (id: number) => `${root}/jobs/${id}/sealing-keys`,
  runs: (query: Query = {}) => withQuery(`${root}/runs`, query),
  run: (id: number, query: Query = {}) => withQuery(`${root}/runs/${id}`, query),
  targetRuns: (id: number, query: Query = {}) => withQuery(`${root}/runs/${id}/target-runs`, query),
  sshConnections: (id: number, query: Query = {}) => withQuery(`${root}/runs/${id}/ssh-connections`, query),
  runSteps: (id: number, query: Query = {}) => withQuery(`${root}/runs/${id}/steps`, query),
  stepOutput: (runId: number, stepId: number, query: Query = {}) =>
    withQuery(`${root}/runs/${runId}/steps/${stepId}/output`, query),
  runEvents: (id: number, query: Query = {}) => withQuery(`${root}/runs/${id}/events`, query),
  runExplanation: (id: number) => `${root}/runs/${id}/explain`,
  runDecisions: (id: number) => `${root}/runs/${id}/decisions`,
  stepAttempts: (runId: number, stepId: number) => `${root}/runs/${runId}/steps/${stepId}/attempts`,
  stepTransfers: (runId: number, stepId: number, query: Query = {}) =>
    withQuery(`${root}/runs/${runId}/steps/${stepId}/transfers`, query),
  artifacts: (runId: number, query: Query = {}) => withQuery(`${root}/runs/${runId}/artifacts`, query),
  artifactContent: (runId: number, id: string) =>
    `${root}/runs/${runId}/artifacts/${encodeURIComponent(id)}/content`,
  rerun: (id: number) => `${root}/runs/${id}/rerun`,
  cancelRun: (id: number, query: Query = {}) => withQuery(`${root}/executor/cancel/${id}`, query),
  cancelTargetRun: (id: number, targetRun: number, query: Query = {}) =>
    withQuery(`${root}/runs/${id}/target-runs/${targetRun}/cancel`, query),
  files: (query: Query = {}) => withQuery(`${root}/files`, query),
  file: (id: string) => `${root}/files/${encodeURIComponent(id)}`,
  fileContent: (id: string, query: Query = {}) =>
    withQuery(`${root}/files/${encodeURIComponent(id)}/content`, query),
  receivedContent: (id: string) => `${root}/files/${encodeURIComponent(id)}/received`,
  finishFile: (id: string) => `${root}/files/${encodeURIComponent(id)}/finish`,
  fileUses: (id: string) => `${root}/files/${encodeURIComponent(id)}/uses`,
  executorStatus: () => `${root}/executor/status`,
  executorOverview: () => `${root}/executor/overview`,
};
