import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { TypedChanges } from './typed-changes.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function typed() {
  const told: object[] = [];
  return { told, changes: new TypedChanges<{ person?: string; target?: string }>((one) => told.push(one)) };
}

it('is told of once, when nobody types any more, with what went into the field before', () => {
  const { told, changes } = typed();
  changes.add({ person: 'a' });
  changes.add({ person: 'ada' });
  changes.add({ target: 'web' });
  expect(told).toEqual([]);
  vi.runAllTimers();
  expect(told).toEqual([{ person: 'ada', target: 'web' }]);
  changes.add({ target: 'db' });
  vi.runAllTimers();
  expect(told[1]).toEqual({ target: 'db' });
});

it('is not told of when it is forgotten', () => {
  const { told, changes } = typed();
  changes.add({ person: 'ada' });
  changes.forget();
  changes.add({ target: 'web' });
  vi.runAllTimers();
  expect(told).toEqual([{ target: 'web' }]);
});

it('of one field alone is forgotten without the others', () => {
  const { told, changes } = typed();
  changes.forget('person');
  changes.add({ person: 'ada' });
  changes.add({ target: 'web' });
  changes.forget('person');
  vi.runAllTimers();
  expect(told).toEqual([{ target: 'web' }]);
  changes.add({ person: 'ada' });
  changes.forget('person');
  vi.runAllTimers();
  expect(told).toHaveLength(1);
});
