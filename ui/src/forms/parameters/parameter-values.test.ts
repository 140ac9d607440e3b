import { expect, test } from 'vitest';
import { load } from '../../state/testing.ts';

const { ParameterValues } = await load<typeof import('./parameter-values.svelte.ts')>(
  'forms/parameters/parameter-values.svelte.ts',
);

const hosts = { type: 'array', items: { type: 'string' }, default: ['a', 'b'] } as const;
const limits = {
  type: 'object',
  properties: { memory: { type: 'integer' }, swap: { type: 'integer' } },
  default: { memory: 512, swap: 0 },
} as const;

test('a list that is left to its default shows its items, and keeps the others when one is changed', () => {
  const form = new ParameterValues({ hosts });
  expect([form.at(['hosts']), form.at(['hosts', 0]), form.at(['hosts', 1])]).toEqual([undefined, 'a', 'b']);
  form.give(['hosts', 1], 'c');
  expect(form.values).toEqual({ hosts: ['a', 'c'] });
  expect(form.isRight).toBe(true);
  expect(hosts.default).toEqual(['a', 'b']);
});

test('an object that is left to its default keeps its other properties when one is changed, and can return to the default', () => {
  const form = new ParameterValues({ limits });
  expect(form.at(['limits', 'memory'])).toBe(512);
  form.give(['limits', 'swap'], 64);
  expect(form.values).toEqual({ limits: { memory: 512, swap: 64 } });
  form.give(['limits'], undefined);
  expect(form.values).toEqual({});
  expect(form.filled).toEqual({ limits: { memory: 512, swap: 0 } });
});

test('missing parents of a value are created', () => {
  const form = new ParameterValues({
    rows: { type: 'array', items: { type: 'object', properties: { name: { type: 'string' } } } },
  });
  form.give(['rows', 0, 'name'], 'first');
  expect(form.values).toEqual({ rows: [{ name: 'first' }] });
  form.give(['rows', 0], undefined);
  expect(form.values).toEqual({ rows: [] });
});
