import { describe, expect, test } from 'vitest';
import { parameterWords } from './parameter-words.ts';

describe('a parameter in words', () => {
  test.each([
    [{ type: 'string' }, 'string'],
    [{ type: 'string', enum: ['security', 'all'] }, 'one of security, all'],
    [{ type: 'string', enum: ['', 'x'] }, 'one of "", x'],
    [{ type: 'string', format: 'hostname', maxLength: 63 }, 'hostname, 63 characters at most'],
    [{ type: 'integer', minimum: 1, maximum: 5 }, 'integer, 1 to 5'],
    [{ type: 'number', exclusiveMinimum: 0, multipleOf: 0.5 }, 'number, above 0, a multiple of 0.5'],
    [{ type: 'array', items: { type: 'string' }, minItems: 1 }, 'list of strings, 1 entry at least'],
    [
      { type: 'string', minLength: 5, maxLength: 5, pattern: '^C' },
      'string, exactly 5 characters, matching ^C',
    ],
  ] as const)('%j is “%s”', (value, words) => {
    expect(parameterWords(structuredClone(value) as never)).toBe(words);
  });
});
