// Permissions, the roles that bundle them, and the scopes on which they can be granted.
import { type Static, Type } from 'typebox';
import { Closed, Id } from '../schema-parts.ts';

export const roles = ['viewer', 'operator', 'author', 'admin', 'auditor'] as const;
export type Role = (typeof roles)[number];

/**
 * On what a permission can be granted, apart from everywhere: `jobs` (a category), `targets` (a segment or a target
 * group), `segments` (a segment only), or nothing else.
 */
export const permissionReach = {
  /**
   * Sees jobs and their runs (category), and targets, agents, names of credentials and what was done there (segment,
   * group).
   */
  read: ['jobs', 'targets'],
  /** Starts and cancels runs. Needed for the job and for every target. */
  run: ['jobs', 'targets'],
  'jobs.edit': ['jobs'],
  /** Writes values into shell text unquoted, if the author asks for that. */
  'jobs.raw_splice': ['jobs'],
  'runs.purge': ['jobs'],
  'targets.edit': ['targets'],
  'targets.test': ['targets'],
  'host_keys.approve': ['targets'],
  'credentials.use': ['targets'],
  'credentials.edit': ['segments'],
  'segments.edit': ['segments'],
  'agents.enroll': ['segments'],
  /** Drains, disables and revokes agents. */
  'agents.manage': ['segments'],
  /** Reads the audit log; on a scope, only what happened there. */
  'audit.read': ['jobs', 'targets'],
  /** Fetches metrics: numbers of the queue, the agents and the servers. For monitoring systems, which need no more. */
  'metrics.read': [],
  'categories.edit': [],
  /** An installation's own rules for job definitions. */
  'site_rules.edit': [],
  'target_groups.edit': [],
  /** Users, user groups, service accounts, grants, and other people's sessions and tokens. */
  'people.edit': [],
  self: [],
} as const satisfies Record<string, readonly ('jobs' | 'targets' | 'segments')[]>;
export type Permission = keyof typeof permissionReach;
export const permissions = Object.keys(permissionReach) as [Permission, ...Permission[]];

export const rolePermissions: Record<Role, readonly Permission[]> = {
  viewer: ['self', 'read'],
  operator: ['self', 'read', 'run', 'credentials.use', 'targets.test'],
  author: ['self', 'read', 'run', 'credentials.use', 'targets.test', 'jobs.edit'],
  admin: permissions,
  auditor: ['self', 'read', 'audit.read'],
};

export const scopeKinds = ['category', 'segment', 'target_group'] as const;
export type ScopeKind = (typeof scopeKinds)[number];
/** Where a grant or an API token applies; without a scope, everywhere. */
export const ScopeSchema = Closed({ kind: Type.Enum(scopeKinds), id: Id });
export type Scope = Static<typeof ScopeSchema>;

/** Whether the permission can be granted on that kind of scope. */
export function reachesInto(permission: Permission, kind: ScopeKind): boolean {
  const reach: readonly string[] = permissionReach[permission];
  if (kind === 'category') return reach.includes('jobs');
  return reach.includes('targets') || (kind === 'segment' && reach.includes('segments'));
}
