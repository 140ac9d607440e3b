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

it('is applied once, when nobody types any more, together with what was typed into the other field', () => {
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

it('is not applied if it was forgotten', () => {
  const { told, changes } = typed();
  changes.add({ person: 'ada' });
  changes.forget();
  changes.add({ target: 'web' });
  vi.runAllTimers();
  expect(told).toEqual([{ target: 'web' }]);
});

it('in a single field can be forgotten without the others', () => {
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
