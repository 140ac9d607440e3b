import type { Wait } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import { isWait, restWords, unheardOf, waitLinks, waitOf } from './wait-words.ts';

const wait = (fields: Partial<Wait>) =>
  ({ code: 'lock', segmentId: 3, segmentName: 'dmz-1', runs: [], ...fields }) as Wait;

it('a wait for an agent links to the agents of that segment', () => {
  expect(waitLinks(wait({ code: 'agents_offline' }))).toEqual([
    { text: 'Agents of dmz-1', href: '/agents?segmentId=3' },
  ]);
  expect(waitLinks(wait({ code: 'no_agent', segmentId: null, segmentName: null }))).toEqual([
    { text: 'Agents', href: '/agents' },
  ]);
});

it('a wait for another run links to that run, and one that ends by itself has no link', () => {
  expect(waitLinks(wait({ runs: [12] }))).toEqual([{ text: 'Run 12', href: '/runs/12' }]);
  expect(waitLinks(wait({ code: 'max_parallel' }))).toEqual([]);
});

it('a running step with a silent agent has no contact, which is not a wait', () => {
  const silent = wait({ code: 'agent_unheard', agentName: 'a' });
  const step = { status: 'running', agentName: 'a' } as const;
  expect(unheardOf([silent], { id: 9, segmentId: 3 }, step)).toBe(silent);
  expect(unheardOf([silent], { id: 9, segmentId: 3 }, { ...step, status: 'succeeded' })).toBeUndefined();
  expect(unheardOf([silent], { id: 9, segmentId: 3 }, { ...step, agentName: 'b' })).toBeUndefined();
  expect(unheardOf([silent], { id: 9, segmentId: 4 }, step)).toBeUndefined();
  expect(
    unheardOf([wait({ code: 'leased', agentName: 'a' })], { id: 9, segmentId: 3 }, step),
  ).toBeUndefined();
  expect(isWait(silent)).toBe(false);
});

it('a running step whose host does not answer is told from others of its agent, and is not a wait', () => {
  const examples = [{ targetRunId: 9, targetName: 'c' }];
  const silent = wait({ code: 'target_silent', agentName: 'a', examples });
  const step = { status: 'running', agentName: 'a' } as const;
  expect(unheardOf([silent], { id: 9, segmentId: 3 }, step)).toBe(silent);
  expect(unheardOf([silent], { id: 8, segmentId: 3 }, step)).toBeUndefined();
  expect(isWait(silent)).toBe(false);
});

it('a host has the wait that names it, or the only one that hosts of its segment have', () => {
  const offline = wait({ code: 'agents_offline', examples: [{ targetRunId: 1, targetName: 'a' }] });
  const lock = wait({ code: 'lock', examples: [{ targetRunId: 2, targetName: 'b' }] });
  const silent = wait({ code: 'agent_unheard', examples: [{ targetRunId: 9, targetName: 'c' }] });
  expect(waitOf([offline, silent], { id: 9, segmentId: 3 })).toBe(offline);
  expect(waitOf([offline, lock], { id: 2, segmentId: 3 })).toBe(lock);
  expect(waitOf([offline, lock], { id: 9, segmentId: 3 })).toBeUndefined();
  expect(waitOf([offline], { id: 1, segmentId: 4 })).toBeUndefined();
});

it('hosts that are not named are counted', () => {
  const examples = [{ targetRunId: 1, targetName: 'a' }];
  expect(restWords({ targets: 40, examples })).toBe('and 39 more hosts');
  expect(restWords({ targets: 1, examples })).toBe('');
});
