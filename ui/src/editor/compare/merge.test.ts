import type { JobDefinition } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { applyEdit } from '../text/apply-edit.ts';
import { editsToTake, theirChanges } from './merge.ts';

const step = (name: string, config: Record<string, unknown> = {}) =>
  ({ name, type: 'ssh.exec', config: { command: name, ...config } }) as const;
const job = (steps: readonly ReturnType<typeof step>[], more: Partial<JobDefinition> = {}) =>
  ({ name: 'Patch', steps, ...more }) as unknown as JobDefinition;

const base = job([step('a', { timeout: 1 }), step('b'), step('c')], { description: 'old' });

test('what only they changed is taken over, and what only I changed stays', () => {
  const mine = job([step('a', { timeout: 1 }), step('b', { timeout: 9 }), step('c')], { description: 'old' });
  const theirs = job([step('a', { timeout: 2 }), step('b'), step('c')], { description: 'new', timeout: 60 });
  const sides = theirChanges(base, mine, theirs);
  expect(sides.map(({ label, contested }) => [label, contested])).toEqual([
    ['description', false],
    ['timeout', false],
    ['step a: config.timeout', false],
  ]);
  expect(editsToTake(sides).reduce<unknown>(applyEdit, mine)).toEqual(
    job([step('a', { timeout: 2 }), step('b', { timeout: 9 }), step('c')], {
      description: 'new',
      timeout: 60,
    }),
  );
});

test('a place that both changed differently is contested; one that both changed equally is not a change', () => {
  const mine = job([step('a', { timeout: 5 }), step('b'), step('c')], { description: 'same' });
  const theirs = job([step('a', { timeout: 2 }), step('b'), step('c')], { description: 'same' });
  expect(theirChanges(base, mine, theirs)).toMatchObject([
    { label: 'step a: config.timeout', contested: true, mine: 5, theirs: 2 },
  ]);
});

test('added and removed steps are merged, and moved steps are recognized', () => {
  const mine = job([step('c'), step('a', { timeout: 1 }), step('b')], { description: 'old' });
  const theirs = job([step('a', { timeout: 3 }), step('new'), step('c')], { description: 'old' });
  const sides = theirChanges(base, mine, theirs);
  expect(editsToTake(sides).reduce<unknown>(applyEdit, mine)).toEqual(
    job([step('c'), step('new'), step('a', { timeout: 3 })], { description: 'old' }),
  );
});
