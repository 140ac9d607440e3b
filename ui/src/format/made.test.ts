import type { MadeThing, MadeWith } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { madeWithWords, staysWords, thingsMade, thingWords } from './made.ts';

const now = Date.parse('2026-12-01T12:00:00Z');
const begunAt = '2026-12-01T10:00:00.000Z';
const token: MadeWith = {
  kind: 'api_token',
  id: 7,
  user: 'ada',
  name: 'deploy',
  begunAt: null,
  hasEnded: false,
};
const session: MadeWith = { ...token, kind: 'session', name: null, begunAt };

test.each<[MadeWith, string]>([
  [token, 'made with API token deploy'],
  [{ ...token, hasEnded: true }, 'made with API token deploy, which has ended'],
  [{ ...token, user: 'root' }, 'made with API token deploy of root'],
  [{ ...token, user: null }, 'made with API token deploy of a user who was deleted'],
  [session, 'made in a session that began 2 h ago'],
  [
    { ...session, user: 'root', hasEnded: true },
    'made in a session of root that began 2 h ago and has ended',
  ],
])('%o is told to ada as “%s”', (madeWith, words) => {
  expect(madeWithWords(madeWith, 'ada', now)).toBe(words);
});

const thing = { id: 5, createdAt: begunAt, name: null, user: null, segment: null, stays: null };
test.each<[Partial<MadeThing> & Pick<MadeThing, 'kind'>, string]>([
  [{ kind: 'api_token', name: 'deploy', user: 'ada' }, 'API token deploy of ada'],
  [{ kind: 'api_token' }, 'an API token of someone else'],
  [{ kind: 'session', user: 'ada' }, 'session of ada that began 2 h ago'],
  [{ kind: 'sign_in_link', user: 'ada' }, 'unused sign-in link for ada'],
  [{ kind: 'enrollment_token', segment: 'dmz-1' }, 'unused enrollment token 5 for dmz-1'],
  [{ kind: 'enrollment_token' }, 'an enrollment token for another segment'],
  [{ kind: 'agent', name: 'web', segment: 'dmz-1' }, 'agent web in dmz-1'],
])('%o is called “%s”, and nothing is named that may not be seen', (fields, words) => {
  expect(thingWords({ ...thing, ...fields }, now)).toBe(words);
});

test('what stays says why, and how many end is counted', () => {
  expect(staysWords('agent')).toBe('revoke it under Agents');
  expect([1, 3].map((n) => thingsMade(n, 'with it'))).toEqual([
    'the one thing that was made with it',
    'the 3 things that were made with it',
  ]);
});
