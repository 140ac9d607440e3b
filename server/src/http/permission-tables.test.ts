// The tables in docs/permissions.md are what the code says. `-u` writes them anew.
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
  read: 'see jobs and their runs (category); targets, what was done there, agents, names of credentials (segment, group)',
  run: 'start, cancel and run again, and decide held steps',
  'jobs.edit': 'create, change, move, archive, tag and delete jobs, and files in their category',
  'jobs.raw_splice': 'write values into shell text unquoted, where the author asks for it',
  'runs.purge': 'delete ended runs with their output',
  'targets.edit': 'create, change and delete targets',
  'targets.test': 'have an agent reach a target and log in',
  'host_keys.approve': 'accept host keys',
  'credentials.use': 'have a credential used, by a run, a test, or by giving it to something',
  'credentials.edit': 'create, replace and delete credentials',
  'segments.edit':
    'create segments (everywhere), change what they give to their targets, and how long their agents may be silent',
  'agents.enroll': 'make enrollment tokens',
  'agents.manage':
    'drain, disable and revoke agents, label them, ask for new keys; where an owner holds the root, hand in rosters and recovered keys',
  'audit.read': 'read the audit log: of a scope, what happened there',
  'categories.edit': 'create, change and delete categories',
  'site_rules.edit': 'see and change what the installation asks of job definitions',
  'target_groups.edit': 'create, change and delete target groups',
  'people.edit': 'users, user groups, service accounts, grants, other people’s sessions and tokens',
  self: 'one’s own account; everybody has it, API tokens with bounds do not',
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
    'Each is granted everywhere or on the scopes named.',
    permissionTable(),
    '## Routes',
    'Paths are below `/api/v1/`. On a scope, one grant that covers what is asked for is enough.',
    routeTable(),
  ];
  await expect(`${prose}${mark}\n${tables.join('\n\n')}\n`).toMatchFileSnapshot(file);
});
