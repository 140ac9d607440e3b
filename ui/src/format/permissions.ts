// Permissions, roles and scopes in words.
import type { Permission, PlaceKind, Role, ScopeKind } from '@opsconductor/protocol';

/** What each permission allows. */
export const permissionWords: Record<Permission, string> = {
  read: 'See jobs and their runs, targets, agents, and the names of credentials',
  run: 'Start and cancel runs; needed for the job and for every target',
  'jobs.edit': 'Write, change and move jobs',
  'jobs.raw_splice': 'Write values into shell text unquoted',
  'runs.purge': 'Delete runs with their output',
  'targets.edit': 'Add, change and delete targets',
  'targets.test': 'Test the connection to targets',
  'host_keys.approve': 'Accept and replace host keys',
  'credentials.use': 'Run on targets with the credentials that open them',
  'credentials.edit': 'Seal and delete credentials',
  'segments.edit': 'Create, change and delete segments',
  'agents.enroll': 'Enroll agents',
  'agents.manage': 'Drain, disable and revoke agents',
  'audit.read': 'Read the audit log',
  'metrics.read': 'Fetch metrics, with the names of segments and agents',
  'categories.edit': 'Create, rename and delete categories',
  'site_rules.edit': 'Set the rules that job definitions have to keep',
  'target_groups.edit': 'Create, change and delete target groups',
  'people.edit': 'Edit users, user groups, grants, sessions and API tokens of others',
  self: 'Edit your own account',
};

export const roleWords: Record<Role, string> = {
  viewer: 'can read',
  operator: 'can run jobs',
  author: 'can run and write jobs',
  admin: 'can do everything',
  auditor: 'can read the audit log',
};

export const scopeKindWords: Record<ScopeKind, string> = {
  category: 'category',
  segment: 'segment',
  target_group: 'target group',
};

export const placeKindWords: Record<PlaceKind, string> = {
  ...scopeKindWords,
  job: 'job',
  target: 'target',
  run: 'run',
};

/** `everywhere`, `segment dmz-1` */
export function scopeWords(scope: { kind: ScopeKind; name: string } | null): string {
  return scope === null ? 'everywhere' : `${scopeKindWords[scope.kind]} ${scope.name}`;
}

/** `role operator`, `permission jobs.edit` */
export function grantWords(grant: { role: Role | null; permission?: Permission | null }): string {
  return grant.role !== null ? `role ${grant.role}` : `permission ${grant.permission ?? ''}`.trim();
}
