// Compares the tables in docs/permissions.md with the code. `-u` rewrites them.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Permission,
  permissionReach,
  permissions,
  rolePermissions,
  roles,
} from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { type Needs, routeNeeds } from './authorization/authorization-needs.ts';

const file = join(import.meta.dirname, '../../../docs/permissions.md');
const mark = '<!-- generated from permissionReach, rolePermissions and the table of routes -->\n';

const meanings: Record<Permission, string> = {
  read: 'on a category: see jobs and their runs. On a segment or target group: see targets, what was done there, agents, names of credentials',
  run: 'start, cancel and rerun jobs, and decide held steps',
  'jobs.edit': 'create, change, move, archive, tag and delete jobs, and files in their category',
  'jobs.raw_splice': 'insert values unquoted into shell text, where the author of the job asks for it',
  'runs.purge': 'delete ended runs with their output',
  'targets.edit': 'create, change and delete targets',
  'targets.test': 'have an agent reach a target and log in to it',
  'host_keys.approve': 'accept host keys',
  'credentials.use': 'use a credential: in a run, in a test, or by giving it to something',
  'credentials.edit': 'create, replace and delete credentials',
  'segments.edit':
    'create segments (everywhere); change what they give to their targets, and how long their agents may be silent',
  'agents.enroll': 'make enrollment tokens, see those that were not used, and take them back',
  'agents.manage':
    'drain, disable, revoke and label agents, ask for new keys; if an owner holds the root, submit rosters and recovered keys',
  'audit.read': 'read the audit log; on a scope, what happened there',
  'metrics.read': 'fetch metrics, for a monitoring system',
  'categories.edit': 'create, change and delete categories',
  'site_rules.edit': 'see and change what the installation requires of job definitions',
  'target_groups.edit': 'create, change and delete target groups',
  'people.edit':
    'manage users, user groups, service accounts, grants, and other people’s sessions and tokens',
  self: 'one’s own account; everyone has it, except API tokens with bounds',
};

const scopeWords = { jobs: 'category', targets: 'segment, target group', segments: 'segment' } as const;

function permissionTable(): string {
  const head = ['permission', 'to', 'also granted on', ...roles];
  return table(
    head,
    permissions.map((permission) => [
      `\`${permission}\``,
      meanings[permission],
      permissionReach[permission].map((kind) => scopeWords[kind]).join(', ') || '–',
      ...roles.map((role) => (rolePermissions[role].includes(permission) ? '✓' : '')),
    ]),
  );
}

function routeTable(): string {
  const rows = Object.entries(routeNeeds)
    .sort(([a], [b]) => compare(pathFirst(a), pathFirst(b)))
    .map(([route, needs]) => [`\`${route}\``, ...needWords(needs)]);
  return table(['route', 'needs', 'on'], rows);
}

function needWords(needs: Needs): [string, string] {
  if ('public' in needs) return ['–', 'open to all'];
  if ('self' in needs) return ['`self`', 'one’s own account'];
  if ('everywhere' in needs) return [`\`${needs.everywhere}\``, 'everywhere'];
  return [`\`${needs.permission}\``, needs.on];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const pathFirst = (route: string) => route.split(' ').reverse().join(' ');
const compare = (a: string, b: string) => (a < b ? -1 : 1);

test('docs/permissions.md has the permissions, roles and routes of this version', async () => {
  const [prose] = (await readFile(file, 'utf8')).split(mark);
  const tables = [
    '## Permissions and roles',
    'Each permission can be granted everywhere, and on the scopes in the third column. The columns on the right show which roles have it.',
    permissionTable(),
    '## Routes',
    'Paths are below `/api/v1/`. On a scope, one grant that covers what is asked for is enough. *Seen* means what the caller may read.',
    routeTable(),
  ];
  await expect(`${prose}${mark}\n${tables.join('\n\n')}\n`).toMatchFileSnapshot(file);
});
