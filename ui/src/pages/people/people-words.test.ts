import type { User } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import { userState } from './people-words.ts';

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
    'to whom a link was given',
    { hasPassword: false, signInLinkExpiresAt: later },
    'link waits',
    'to be used, in 11 min',
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
    'for 2 addresses, lifts in 11 min',
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
