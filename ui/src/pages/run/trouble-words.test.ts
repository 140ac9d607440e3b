import { expect, test } from 'vitest';
import { mayReport, troubleWords } from './trouble-words.ts';

const step = (reason: string | null, agentName: string | null = 'dmz-1-b') => ({ agentName, reason });

test('an agent is said to be cut off only if that is why the host is unknown', () => {
  expect(troubleWords([step('agent_silent')], true)).toBe('dmz-1-b was cut off while a step ran.');
  expect(troubleWords([step('cancel_forced')], true)).toBe(
    'The cancel was forced while a step ran, without waiting for its agent.',
  );
  for (const reason of ['cancel_unconfirmed', 'connection_lost', 'target_rebooted', 'database_restored']) {
    expect(troubleWords([step(reason), step('agent_silent')], true)).toBe(
      'How a step ended there is not known.',
    );
  }
});

test('agents are named as far as their steps are known', () => {
  expect(troubleWords([], false)).toBe('Agents were cut off while a step ran.');
  expect(troubleWords([step(null, null)], true)).toBe('An agent was cut off while a step ran.');
  expect(troubleWords([step('agent_silent')], false)).toBe(
    'dmz-1-b, perhaps others, were cut off while a step ran.',
  );
  const many = ['a', 'b', 'c', 'd', 'e'].map((name) => step('agent_revoked', name));
  expect(troubleWords(many, true)).toBe('a, b, c and 2 more were cut off while a step ran.');
});

test('after a forced cancel the agent may still report', () => {
  expect(mayReport(step('cancel_forced'))).toBe(true);
  expect(mayReport(step('agent_revoked'))).toBe(false);
});
