import { expect, it } from 'vitest';
import { namedFirst } from './named-first.ts';

const named = (...names: string[]) => names.map((name) => ({ name }));

it('puts a job of that name before those that only speak of it, in which Enter would otherwise end', () => {
  const found = named('Fail on purpose', 'Look around', 'Overlook', 'look', 'Tidy up');
  expect(namedFirst(found, 'Look').map(({ name }) => name)).toEqual([
    'look',
    'Look around',
    'Overlook',
    'Fail on purpose',
    'Tidy up',
  ]);
});
