import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { knownV8Options } from './v8-options.ts';

test('of options for V8, those are given that this version of Node knows, with and without a value', () => {
  const options = ['--max-semi-space-size=64', '--no-such-option=1', '--liftoff-only', '--no-such-option'];
  const known = knownV8Options(options);
  expect(known).toEqual(['--max-semi-space-size=64', '--liftoff-only']);
  expect(execFileSync(process.execPath, [...known, '--print', '1'], { encoding: 'utf8' })).toBe('1\n');
});
