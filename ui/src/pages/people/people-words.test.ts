import type { User } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import { endedWith, fullNameOf, lostByLeaving, lostWithGroup, userState } from './people-words.ts';

const now = Date.parse('2026-11-24T02:27:12.000Z');
const later = new Date(now + 11 * 60_000).toISOString();
const user: User = {
  id: 1,
  name: 'ada',
  displayName: '',
  description: '',
  kind: 'person',
  isActive: true,
  hasPassword: true,
  signInLinkExpiresAt: null,
  lockedUntil: null,
  lockedAddresses: 0,
  lastSignInAt: null,
  sessions: 0,
  tokens: 0,
  userGroups: [],
  roles: [],
  createdAt: later,
  updatedAt: later,
};

it.each<[string, Partial<User>, string, string | undefined]>([
  ['with a password', { sessions: 2 }, 'active', '2 sessions'],
  ['without password and link', { hasPassword: false }, 'no way in', 'neither password nor link'],
  [
    'without password and link who is signed in',
    { hasPassword: false, sessions: 1 },
    'no way back in',
    '1 session, but neither password nor link',
  ],
  [
    'without password and link who has an API token',
    { hasPassword: false, tokens: 1 },
    'can’t sign in',
    '1 API token, but neither password nor link',
  ],
  [
    'to whom a link was given',
    { hasPassword: false, signInLinkExpiresAt: later },
    'link unused',
    'expires in 11 min',
  ],
  [
    'whose link has run out',
    { hasPassword: false, signInLinkExpiresAt: new Date(now - 1).toISOString() },
    'no way in',
    'neither password nor link',
  ],
  [
    'after wrong passwords',
    { lockedUntil: later, lockedAddresses: 2 },
    'locked',
    'for 2 addresses, unlocks in 11 min',
  ],
  [
    'whose lock is over',
    { lockedUntil: new Date(now - 1).toISOString(), lockedAddresses: 0 },
    'active',
    undefined,
  ],
  [
    'who is inactive and locked',
    { isActive: false, lockedUntil: later, lockedAddresses: 1 },
    'inactive',
    undefined,
  ],
  ['that is a program with tokens', { kind: 'service', tokens: 1, hasPassword: false }, 'active', '1 token'],
  [
    'that is a program without any',
    { kind: 'service', hasPassword: false },
    'no token',
    'nothing can use it',
  ],
])('a user %s is shown so', (_, change, word, detail) => {
  expect(userState({ ...user, ...change }, now)).toMatchObject({ word, detail });
});

it.each<[Pick<User, 'kind' | 'sessions' | 'tokens'>, string]>([
  [{ kind: 'person', sessions: 0, tokens: 0 }, ''],
  [
    { kind: 'person', sessions: 1, tokens: 0 },
    '1 session ends, permanently: it doesn’t come back if the user is activated again.',
  ],
  [
    { kind: 'person', sessions: 1, tokens: 1 },
    '1 session ends and 1 API token is deleted, permanently: they don’t come back if the user is activated again.',
  ],
  [
    { kind: 'service', sessions: 0, tokens: 2 },
    '2 API tokens are deleted, permanently: they don’t come back if the user is activated again.',
  ],
])('what deactivating %o ends is told, and only what there is', (of, words) =>
  expect(endedWith(of)).toBe(words),
);

it('a full name that says no more than the name is not shown beside it', () => {
  expect(fullNameOf({ name: 'admin', displayName: 'Admin' })).toBe('');
  expect(fullNameOf({ name: 'ada', displayName: 'Ada Lovelace' })).toBe('Ada Lovelace');
});

it('a group that gives nothing, or has nobody, takes nothing from anyone when it goes', () => {
  expect(lostWithGroup({ members: 0, grants: 0 })).toBe('It has no members, and nothing is granted to it.');
  expect(lostWithGroup({ members: 0, grants: 1 })).toBe('It has no members. Its 1 grant is deleted with it.');
  expect(lostWithGroup({ members: 1, grants: 0 })).toBe(
    'Nothing is granted to it: its 1 member keeps all rights.',
  );
  expect(lostWithGroup({ members: 1, grants: 1 })).toMatch(
    /^1 member loses what its 1 grant gives, at once\. That user/,
  );
  expect(lostWithGroup({ members: 2, grants: 2 })).toMatch(/^2 members lose what its 2 grants give, at once/);
  expect(lostByLeaving('ada', { grants: 0 })).toBe('Nothing is granted to the group: ada keeps all rights.');
  expect(lostByLeaving('ada', { grants: 1 })).toMatch(/^ada loses what the group’s 1 grant gives, at once/);
});
