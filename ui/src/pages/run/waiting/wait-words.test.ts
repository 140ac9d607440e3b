import type { Wait } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import { restWords, waitLinks } from './wait-words.ts';

const wait = (fields: Partial<Wait>) =>
  ({ code: 'lock', segmentId: 3, segmentName: 'dmz-1', runs: [], ...fields }) as Wait;

it('what an agent is needed for leads to the agents of that segment', () => {
  expect(waitLinks(wait({ code: 'agents_offline' }))).toEqual([
    { text: 'Agents of dmz-1', href: '/agents?segmentId=3' },
  ]);
  expect(waitLinks(wait({ code: 'no_agent', segmentId: null, segmentName: null }))).toEqual([
    { text: 'Agents', href: '/agents' },
  ]);
});

it('what another run holds leads to that run, and what ends by itself leads nowhere', () => {
  expect(waitLinks(wait({ runs: [12] }))).toEqual([{ text: 'Run 12', href: '/runs/12' }]);
  expect(waitLinks(wait({ code: 'max_parallel' }))).toEqual([]);
});

it('hosts that are not named are counted', () => {
  const examples = [{ targetRunId: 1, targetName: 'a' }];
  expect(restWords({ targets: 40, examples })).toBe('and 39 more hosts');
  expect(restWords({ targets: 1, examples })).toBe('');
});
