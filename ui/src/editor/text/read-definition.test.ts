import { expect, test } from 'vitest';
import { readDefinition } from './read-definition.ts';

test('a placeholder without quotes inside braces is one problem, which says so', () => {
  const text = 'steps:\n  - { config: { command: echo ${{ parameters.x }}, timeout: 5 } }\ntimeout: 60\n';
  const { problems } = readDefinition(text);
  expect(problems.map(({ message }) => message)).toEqual([
    'Text with a placeholder must be in quotes here: inside { } and [ ], a { begins something new.',
  ]);
  expect(text.slice(0, problems[0]?.from)).toMatch(/echo \$$/);
});
