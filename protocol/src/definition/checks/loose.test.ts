import { expect, test } from 'vitest';
import { looseDefinition } from './loose.ts';

test('of a definition or a step that is a text or a list, nothing is taken apart', () => {
  expect(looseDefinition('text')).toEqual({ steps: [] });
  expect(looseDefinition(['a'])).toEqual({ steps: [] });
  const { steps } = looseDefinition({ steps: ['text', ['a'], null, { name: 'b' }] });
  expect(steps).toEqual([{}, {}, {}, { name: 'b' }]);
  expect(steps.map((step) => Object.keys(step).length)).toEqual([0, 0, 0, 1]);
});
