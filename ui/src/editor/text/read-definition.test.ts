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

test('a command with a colon and a space says what to write instead', () => {
  const text = "steps:\n  - name: a\n    config:\n      command: echo 'error: odd'\n";
  expect(readDefinition(text).problems.map(({ message }) => message)).toEqual([
    'A key takes one line, and `: ` begins a value; put text with `: ` in quotes, or below it, after `|`.',
  ]);
});
