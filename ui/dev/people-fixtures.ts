// People, grants and an audit log for the mock API.
import {
  type Access,
  type ApiToken,
  type AuditRow,
  type Category,
  type EndedMaker,
  grantablePermissions,
  type MadeThing,
  permissions,
  type Role,
  type RoleGrant,
  reachesInto,
  rolePermissions,
  type Session,
  type User,
  type UserGroup,
} from '@opsconductor/protocol';
import { ago, startedAt } from './fixtures.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const ahead = (ms: number) => new Date(startedAt + ms).toISOString();

export const userGroups: UserGroup[] = [
  ['night-shift', 'Watches runs and restarts what may be restarted, 22:00 to 06:00', 6, 3],
  ['dmz operators', 'Run jobs on the web and database hosts of the DMZ', 11, 2],
  ['patch authors', 'Write and test the patch jobs', 4, 2],
  ['auditors', '', 2, 1],
].map(([name, description, members, grants], at) => ({
  id: at + 1,
  name: name as string,
  description: description as string,
  members: members as number,
  grants: grants as number,
  createdAt: ago((300 - at * 20) * day),
  updatedAt: ago((30 - at * 7) * day),
}));
const group = (id: number) => ({ id, name: userGroups[id - 1]?.name ?? '' });

const base = {
  displayName: '',
  description: '',
  kind: 'person' as const,
  isActive: true,
  hasPassword: true,
  signInLinkExpiresAt: null,
  lockedUntil: null,
  lockedAddresses: 0,
  lastSignInAt: ago(3 * hour) as string | null,
  sessions: 1,
  tokens: 0,
  userGroups: [] as { id: number; name: string }[],
  roles: [] as Role[],
  createdAt: ago(200 * day),
  updatedAt: ago(10 * day),
};
export const users: User[] = [
  { ...base, id: 1, name: 'admin', roles: ['admin'], sessions: 2, tokens: 1, lastSignInAt: ago(40 * minute) },
  {
    ...base,
    id: 2,
    name: 'a.okafor',
    displayName: 'Adaeze Okafor',
    userGroups: [group(1), group(2)],
    roles: ['viewer'],
  },
  {
    ...base,
    id: 3,
    name: 'b.lindqvist',
    displayName: 'Björn Lindqvist',
    userGroups: [group(2)],
    lockedUntil: ahead(11 * minute),
    lockedAddresses: 2,
    sessions: 0,
    lastSignInAt: ago(2 * day),
  },
  {
    ...base,
    id: 4,
    name: 'c.moreau',
    displayName: 'Camille Moreau',
    userGroups: [group(3)],
    roles: ['author'],
    lastSignInAt: ago(26 * hour),
  },
  {
    ...base,
    id: 5,
    name: 'd.tanaka',
    displayName: 'Daichi Tanaka',
    hasPassword: false,
    signInLinkExpiresAt: ahead(21 * hour),
    lastSignInAt: null,
    sessions: 0,
    userGroups: [group(1)],
  },
  {
    ...base,
    id: 6,
    name: 'e.vanderbilt-montgomery',
    displayName: 'Eleanor van der Bilt-Montgomery-Ashworth',
    hasPassword: false,
    lastSignInAt: null,
    sessions: 0,
  },
  {
    ...base,
    id: 7,
    name: 'f.auditor',
    displayName: 'Franziska Huber',
    userGroups: [group(4)],
    roles: ['auditor'],
    sessions: 0,
    lastSignInAt: ago(9 * day),
  },
  {
    ...base,
    id: 8,
    name: 'g.former',
    displayName: 'Grace Former',
    isActive: false,
    hasPassword: true,
    sessions: 0,
    lastSignInAt: ago(140 * day),
  },
  {
    ...base,
    id: 20,
    name: 'release-bot',
    kind: 'service',
    description: 'Deploys from the build server',
    hasPassword: false,
    lastSignInAt: null,
    sessions: 0,
    tokens: 2,
  },
  {
    ...base,
    id: 21,
    name: 'cmdb-sync',
    kind: 'service',
    description: 'Imports hosts each night',
    hasPassword: false,
    lastSignInAt: null,
    sessions: 0,
    tokens: 0,
  },
];

const grantRow = (
  id: number,
  subject: RoleGrant['subject'],
  what: Partial<Pick<RoleGrant, 'role' | 'permission'>>,
  scope: RoleGrant['scope'],
): RoleGrant => ({
  id,
  subject,
  role: what.role ?? null,
  permission: what.permission ?? null,
  scope,
  createdAt: ago(id * 3 * day),
  createdBy: { id: 1, name: 'admin' },
});
const ofUser = (id: number) => ({
  kind: 'user' as const,
  id,
  name: users.find((user) => user.id === id)?.name ?? '',
});
const ofGroup = (id: number) => ({ kind: 'user_group' as const, ...group(id) });
const dmz = { kind: 'segment' as const, id: 1, name: 'dmz-1' };
const web = { kind: 'target_group' as const, id: 1, name: 'web/production' };
const patching = { kind: 'category' as const, id: 2, name: 'patching' };
export const grants: RoleGrant[] = [
  { ...grantRow(1, ofUser(1), { role: 'admin' }, null), createdBy: null },
  grantRow(2, ofUser(2), { role: 'viewer' }, null),
  grantRow(3, ofGroup(2), { role: 'operator' }, dmz),
  grantRow(4, ofGroup(2), { role: 'operator' }, patching),
  grantRow(5, ofGroup(1), { permission: 'host_keys.approve' }, web),
  grantRow(6, ofGroup(1), { permission: 'run' }, patching),
  grantRow(7, ofGroup(1), { permission: 'agents.manage' }, dmz),
  grantRow(8, ofUser(4), { role: 'author' }, null),
  grantRow(9, ofGroup(4), { role: 'auditor' }, null),
  grantRow(10, ofUser(20), { role: 'operator' }, { kind: 'category', id: 4, name: 'deployment' }),
  grantRow(11, ofUser(20), { role: 'operator' }, web),
];

export function accessOf(userId: number, query: URLSearchParams): Access {
  const user = users.find((one) => one.id === userId) ?? users[0];
  if (user === undefined) throw new Error('no user');
  const groupIds = user.userGroups.map(({ id }) => id);
  const held = grants.filter(({ subject }) =>
    subject.kind === 'user' ? subject.id === user.id : groupIds.includes(subject.id),
  );
  const asked = grantablePermissions.find((one) => one === query.get('permission'));
  const all = permissions.flatMap((permission) => {
    const giving = held.filter(
      ({ role, permission: one, scope }) =>
        (one === permission ||
          (role !== null && permission !== 'self' && rolePermissions[role].includes(permission))) &&
        (scope === null || reachesInto(permission, scope.kind)),
    );
    if (giving.length === 0) return [];
    const reasons = giving.map(({ id, subject, role, scope }) => ({
      grantId: id,
      through: subject,
      role,
      scope,
    }));
    return [{ permission, everywhere: giving.some(({ scope }) => scope === null), grants: reasons }];
  });
  const { id, name, kind, isActive } = user;
  if (asked === undefined) return { user: { id, name, kind, isActive }, permissions: all, answer: null };
  const found = all.find(({ permission }) => permission === asked);
  const target = query.has('target') ? { kind: 'target' as const, id: 1, name: 'dmz-web-01' } : null;
  const job = query.has('job') ? { kind: 'job' as const, id: 1, name: 'Patch web tier' } : null;
  const on = [job, target].filter((place) => place !== null);
  const needs = (on.length === 0 ? [null] : on).map((place) => ({
    permission: asked,
    on: place,
    isHeld: found !== undefined && (place !== null || found.everywhere),
    grants: found?.grants ?? [],
    missing: found === undefined ? `Missing: ${asked} on segment “dmz-1”, or everywhere.` : null,
  }));
  if (asked === 'run' && target !== null) {
    needs.push({
      permission: 'credentials.use' as typeof asked,
      on: target,
      isHeld: false,
      grants: [],
      missing:
        'Missing: credentials.use on segment “dmz-1” or one of the groups “web/production”, or everywhere.',
    });
  }
  const isAllowed = needs.every((need) => need.isHeld);
  const summary = isAllowed
    ? `${name} may: ${asked}.`
    : `${name} may not: ${asked}. ${needs.map((need) => need.missing ?? '').join(' ')}`;
  return {
    user: { id, name, kind, isActive },
    permissions: found === undefined ? [] : [found],
    answer: { isAllowed, summary, needs },
  };
}

export const sessions: Session[] = [
  ['10.20.4.7', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', 20_000, true],
  [
    '10.20.4.31',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0 Safari/537.36 Edg/139.0',
    3 * hour,
    false,
  ],
  [
    '2001:db8:4::1f',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Mobile/15E148 Safari/604.1',
    9 * hour,
    false,
  ],
].map(([address, userAgent, since, isCurrent], at) => ({
  id: at + 1,
  address: address as string,
  userAgent: userAgent as string,
  createdAt: ago((since as number) + 5 * hour),
  lastSeenAt: ago(since as number),
  expiresAt: ahead((6 - at) * day),
  isCurrent: isCurrent as boolean,
}));

export const tokens: ApiToken[] = [
  {
    id: 1,
    name: 'deploy pipeline',
    prefix: 'oct_7f3c',
    permissions: ['read', 'run', 'credentials.use'],
    scopes: [web, { kind: 'category', id: 4, name: 'deployment' }],
    createdAt: ago(40 * day),
    expiresAt: ahead(50 * day),
    lastUsedAt: ago(4 * minute),
    lastUsedAddress: '10.20.9.2',
    madeWith: {
      kind: 'session',
      id: 12,
      user: 'admin',
      name: null,
      begunAt: ago(41 * day),
      hasEnded: true,
    },
  },
  {
    id: 2,
    name: 'laptop',
    prefix: 'oct_a91d',
    permissions: null,
    scopes: null,
    createdAt: ago(80 * day),
    expiresAt: ago(2 * day),
    lastUsedAt: null,
    lastUsedAddress: null,
    madeWith: {
      kind: 'api_token',
      id: 1,
      user: 'admin',
      name: 'deploy pipeline',
      begunAt: null,
      hasEnded: false,
    },
  },
];

export const endedMakers: EndedMaker[] = [
  { kind: 'session', id: 12, name: null, begunAt: ago(41 * day), made: 1 },
  { kind: 'session', id: 9, name: null, begunAt: ago(90 * day), made: 5 },
  { kind: 'api_token', id: 5, name: 'first set-up of everything here', begunAt: null, made: 5 },
];

/** What was made with token 1 or in a session. */
export const madeThings: MadeThing[] = (
  [
    ['agent', 'edge-relay-with-a-rather-long-name-of-its-machine', null, 'dmz-1', 'agent'],
    ['api_token', null, null, null, 'needs_people_edit'],
    ['api_token', 'laptop', 'admin', null, null],
    ['api_token', 'nightly report of everything that failed', 'build-server', null, null],
    ['session', null, 'c.marchetti', null, null],
    ['sign_in_link', null, 'd.tanaka', null, null],
    ['enrollment_token', null, null, 'dmz-1', null],
  ] as const
).map(([kind, name, user, segment, stays], at) => ({
  ...{ kind, id: at + 20, name, user, segment, stays },
  createdAt: ago(at * 50 * minute),
}));

export const categories: Category[] = [
  ['general', '', 4],
  ['patching', 'Updates of operating systems and of what runs on them', 5],
  ['network', 'Switches, load balancers, certificates', 2],
  ['deployment', 'What the build server rolls out', 1],
  ['decommissioning of hosts in plants', 'Asks for two people', 0],
].map(([name, description, jobCount], at) => ({
  id: at + 1,
  name: name as string,
  parentId: null,
  description: description as string,
  jobCount: jobCount as number,
  createdAt: ago((200 - at * 30) * day),
}));

const happened: [string, string, string | null, string | null, Record<string, unknown>][] = [
  ['job.created', 'c.moreau', 'job', '12', { name: 'Patch web tier', version: 1, category: 'patching' }],
  [
    'run.started',
    'a.okafor',
    'run',
    '4127',
    { job: 'Patch web tier', targets: 24, credentials: ['web-patch'] },
  ],
  ['session.signed_in', 'a.okafor', 'user', '2', { by: 'password' }],
  ['session.sign_in_failed', 'b.lindqvist', null, null, { reason: 'password', locked: true }],
  [
    'grant.created',
    'admin',
    'grant',
    '7',
    { subject: { kind: 'user_group', id: 1, name: 'night-shift' }, permission: 'agents.manage', scope: dmz },
  ],
  ['request.refused', 'a.okafor', null, null, { permission: 'people.edit', route: 'GET /api/v1/users' }],
  [
    'user.changed',
    'admin',
    'user',
    '8',
    {
      from: { name: 'g.former', displayName: 'Grace Former', description: '', isActive: true },
      to: { name: 'g.former', displayName: 'Grace Former', description: 'Left in June', isActive: false },
      endedSessions: 2,
      deletedTokens: 1,
    },
  ],
  [
    'host_key.accepted',
    'a.okafor',
    'target',
    '15',
    { name: 'dmz-web-15', fingerprint: 'SHA256:T5vKw0Rj8NcLz3PqYe6MbXs1UhGd9FoAi7tVkC2yWmE' },
  ],
  [
    'agent.quarantined',
    'dmz-1-b',
    'agent',
    '2',
    { name: 'dmz-1-b', reason: 'an older generation was presented' },
  ],
  ['audit.exported', 'f.auditor', null, null, { format: 'jsonl', from: '2026-01-01T00:00:00Z' }],
];
export const auditTotal = 1_480;
/** Returns a row of the log by id, from 1 to `auditTotal`. */
export function auditRow(id: number): AuditRow {
  const [action, actorName, objectKind, objectId, detail] = happened[
    id % happened.length
  ] as (typeof happened)[number];
  const isAgent = action.startsWith('agent.');
  const isAnonymous = action === 'session.sign_in_failed';
  return {
    id,
    at: ago((auditTotal - id) * 137_000 + 4_000),
    actorKind: isAgent ? 'agent' : isAnonymous ? 'anonymous' : 'user',
    actorId: isAnonymous ? null : 1,
    actorName,
    action,
    objectKind,
    objectId,
    detail,
    address: id % 5 === 0 ? '2001:db8:4::1f' : `10.20.4.${id % 40}`,
    requestId: `req_${(id * 7919).toString(16)}`,
    segmentId: isAgent ? 1 : null,
    segmentName: isAgent ? 'dmz-1' : null,
    categoryId: action.startsWith('job.') ? 2 : null,
    categoryName: action.startsWith('job.') ? 'patching' : null,
    position: id > auditTotal - 2 ? null : id - 1,
  };
}
