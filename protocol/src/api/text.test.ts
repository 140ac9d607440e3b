import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import type { TSchema } from 'typebox';
import { describe, expect, test } from 'vitest';
import { errorDetails, validatorOptions } from '../validation.ts';
import { CreateCredentialRequestSchema } from './agents/credentials.ts';
import { CreateSegmentRequestSchema } from './agents/segments.ts';
import type { ErrorDetail } from './errors.ts';
import { JobDefinitionSchema } from './jobs/jobs.ts';
import { CreateApiTokenRequestSchema, SignInRequestSchema } from './people/identity.ts';
import { Closed } from './schema-parts.ts';
import { CreateTargetRequestSchema } from './targets/targets.ts';
import { Description, DisplayName } from './text.ts';

const ajv = new Ajv2020({ ...validatorOptions, allErrors: true });

function detailsOf(schema: TSchema, value: unknown): ErrorDetail[] {
  const check = ajv.compile(schema);
  check(value);
  return errorDetails(check.errors);
}
const name = (text: string) => detailsOf(Closed({ name: DisplayName() }), { name: text });
const description = (text: string) => detailsOf(Closed({ text: Description(1000) }), { text });

describe('a name', () => {
  test('may be in any script, with emoji and inner spaces', () => {
    for (const text of [
      'a',
      'Patch all (night)',
      'Überprüfung',
      '日本語',
      'می‌خواهم',
      'crew 👩‍🚒',
      'שלום עולם',
      'I \u2764\ufe0f',
      '\u845b\u{e0100}城',
    ])
      expect(name(text)).toEqual([]);
  });

  test('with a character that cannot be seen is refused, naming the character, its place and the fix', () => {
    expect(name('pay\u202eroll')).toEqual([
      {
        path: 'name',
        message: 'Has U+202E (right-to-left override) as character 4, which cannot be seen; remove it.',
        found: '"pay\\u202eroll"',
        allowed: 'a string of 1 to 100 characters: one line of visible text, without spaces around it',
      },
    ]);
    expect(name('🙂\u001b[2J')[0]?.message).toBe(
      'Has U+001B (escape) as character 2, which cannot be seen; remove it.',
    );
    for (const code of [
      0, 7, 0x1b, 0x7f, 0x85, 0x9b, 0xad, 0x61c, 0x200b, 0x200f, 0x2028, 0x2066, 0x2069, 0xfeff, 0xe0041,
      0x34f, 0x115f, 0x1160, 0x17b4, 0x3164, 0xffa0, 0xfff0, 0x1bca0, 0x1d173, 0xe01f0,
    ])
      for (const text of ['x', 'ax', 'xb', 'axb'].map((one) => one.replace('x', String.fromCodePoint(code))))
        expect(name(text), `U+${code.toString(16)}`).toHaveLength(1);
  });

  test('has one line and no white space around it', () => {
    expect(name('two\nlines')[0]?.message).toBe(
      'Has U+000A (line feed) as character 4; write it in one line.',
    );
    for (const text of [' a', 'a ', ' ', '\u3000a', 'a\u00a0'])
      expect(name(text)[0]?.message).toBe('Has white space at its beginning or end; remove it.');
    for (const text of ['\u2800', '\ufe0f', '\u{e0100}a', 'a\u200d'])
      expect(name(text)[0]?.message).toBe('Has an invisible mark at its beginning or end; remove it.');
    expect(name('').map((detail) => detail.message)).toEqual(['Must not be empty.']);
  });

  test('that is invalid is shown without the offending characters', () => {
    const any = fc.string({
      unit: fc.constantFrom('a', '\u202e', '\u009b', '\u001b', '\n', ' ', '\u{e0041}'),
      maxLength: 30,
    });
    fc.assert(
      fc.property(any, (text) => {
        for (const { found, message } of name(text)) expect(`${found}${message}`).toMatch(/^[\x20-\x7e…]*$/);
      }),
    );
  });

  test('of a megabyte is refused as well', () => {
    expect(name('a'.repeat(1_000_000)).map((detail) => detail.message)).toEqual([
      'Must have at most 100 characters.',
    ]);
    expect(name(`${'a'.repeat(1_000_000)} `)).toHaveLength(2);
  });
});

test('a description may have line breaks and tabs, but no other invisible characters', () => {
  expect(description('')).toEqual([]);
  expect(description(' one\r\n\ttwo \u200d\n')).toEqual([]);
  expect(description('one\n\u009b31mtwo')[0]).toMatchObject({
    path: 'text',
    message: 'Has U+009B as character 5, which cannot be seen; remove it.',
    found: '"one\\n\\u009b31mtwo"',
  });
});

test('every name and description in a request is checked by these rules', () => {
  const bad = 'a\u202eb';
  const step = { name: bad, type: 'ssh.exec', config: {} };
  const places = (schema: TSchema, value: object) => {
    const found = detailsOf(schema, value).filter((detail) => detail.found === '"a\\u202eb"');
    return found.map((detail) => detail.path).sort();
  };
  const both = { name: bad, description: bad };
  expect(places(JobDefinitionSchema, { ...both, steps: [step] })).toEqual([
    'description',
    'name',
    'steps[0].name',
  ]);
  expect(places(CreateCredentialRequestSchema, both)).toEqual(['description', 'name']);
  expect(places(CreateSegmentRequestSchema, both)).toEqual(['description', 'name']);
  expect(places(CreateTargetRequestSchema, { name: bad, segmentId: 1, host: 'a' })).toEqual(['name']);
  expect(places(CreateApiTokenRequestSchema, { name: bad })).toEqual(['name']);
  expect(places(SignInRequestSchema, { name: bad, password: 'x' })).toEqual(['name']);
});
