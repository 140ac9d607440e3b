import { expect, it } from 'vitest';
import { categoryOf, withCategory } from './definition-category.ts';
import { readJson } from './json-places.ts';
import { copyText, starterText } from './starter-definition.ts';

it.each([
  [
    '{\n  "name": "x",\n  "category": "a",\n  "steps": []\n}',
    '{\n  "name": "x",\n  "category": "b",\n  "steps": []\n}',
  ],
  ['{\n  "name": "x",\n  "steps": []\n}', '{\n  "name": "x",\n  "category": "b",\n  "steps": []\n}'],
  [
    '{\n\t"description": "y",\n\t"name": "x"\n}',
    '{\n\t"description": "y",\n\t"category": "b",\n\t"name": "x"\n}',
  ],
  ['{"name":"x"}', '{"name":"x", "category": "b"}'],
  ['{}', '{ "category": "b" }'],
  ['{"steps": []}', '{ "category": "b","steps": []}'],
  ['[]', '[]'],
])('a category is written into %s with all else left as it was', (before, after) => {
  expect(withCategory(before, 'b')).toBe(after);
  if (before !== '[]') expect(categoryOf(readJson(after))).toBe('b');
});

it('a definition that names no category is in the general one', () => {
  expect(categoryOf(readJson('{"name": "x"}'))).toBe('general');
  expect(categoryOf(readJson(starterText()))).toBe('general');
  expect(categoryOf(readJson(starterText('patching')))).toBe('patching');
});

it('a copy is in the category it is made for', () => {
  const definition = {
    name: 'x',
    category: 'a',
    steps: [{ name: 's', type: 'ssh.exec' as const, config: {} }],
  };
  expect(JSON.parse(copyText(definition, 'b'))).toEqual({ ...definition, name: 'x (copy)', category: 'b' });
  expect(JSON.parse(copyText(definition))).toEqual({ name: 'x (copy)', steps: definition.steps });
});
