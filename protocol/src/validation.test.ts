import { Ajv2020 } from 'ajv/dist/2020.js';
import { type TSchema, Type } from 'typebox';
import { describe, expect, test } from 'vitest';
import { CreateSegmentRequestSchema } from './api/agents/segments.ts';
import type { ErrorDetail } from './api/errors.ts';
import { JobDefinitionSchema } from './api/jobs/jobs.ts';
import { Closed, Id, Nullable } from './api/schema-parts.ts';
import { CreateTargetRequestSchema } from './api/targets/targets.ts';
import { errorDetails, readablePath, validatorOptions } from './validation.ts';
import { isSecretPath } from './validation-wording.ts';

const ajv = new Ajv2020({ ...validatorOptions, allErrors: true });

function detailsOf(schema: TSchema, value: unknown, options = {}): ErrorDetail[] {
  const check = ajv.compile(schema);
  check(value);
  return errorDetails(check.errors, options);
}

describe('places', () => {
  test('a path looks like code', () => {
    expect(readablePath('/steps/2/config/timeout')).toBe('steps[2].config.timeout');
    expect(readablePath('/labels/a~1b c/x~0y')).toBe('labels["a/b c"]["x~y"]');
    expect(readablePath('/steps/0', 'body')).toBe('body.steps[0]');
    expect(readablePath('')).toBe('');
  });

  test('a missing or unknown property is reported at its own place', () => {
    const details = detailsOf(JobDefinitionSchema, {
      name: 'x',
      steps: [{ name: 'a', type: 'ssh.exec', konfig: 1 }],
    });
    expect(details.map(({ path, message }) => [path, message])).toEqual([
      ['steps[0].config', 'Is missing.'],
      ['steps[0].konfig', 'Is not known here; did you mean config?'],
    ]);
  });

  test('a name of thousands of characters is shortened', () => {
    const [detail] = detailsOf(Type.Object({}, { additionalProperties: false }), { ['k'.repeat(9_000)]: 1 });
    expect(detail?.path).toBe(`["${'k'.repeat(100)}"]`);
    expect(JSON.stringify(detail).length).toBeLessThan(300);
  });

  // A pass over all errors for each union took a minute, during which the server answered nobody.
  test('thousands of failed unions are settled in one pass', () => {
    const schema = Type.Array(Type.Union([Type.Integer(), Type.String({ pattern: '^[0-9]+%$' })]));
    const details = detailsOf(schema, Array(20_000).fill('x'));
    expect(details).toHaveLength(20);
    expect(details[19]).toMatchObject({ path: '[19]', found: '"x"' });
  });

  test('only the first few places are reported', () => {
    const many = Array.from({ length: 100 }, () => 'x');
    expect(detailsOf(Type.Array(Type.Integer()), many)).toHaveLength(20);
    expect(detailsOf(Type.Array(Type.Integer()), many, { max: 3 }).map((one) => one.path)).toEqual([
      '[0]',
      '[1]',
      '[2]',
    ]);
  });
});

describe('sentences', () => {
  const cases: [string, TSchema, unknown, Omit<ErrorDetail, 'path'>][] = [
    [
      'a type',
      Type.Boolean(),
      'yes',
      {
        message: 'Must be true or false; write true without quotes.',
        found: '"yes"',
        allowed: 'true or false',
      },
    ],
    [
      'a bound',
      Type.Integer({ minimum: 1, maximum: 65_535 }),
      0,
      { message: 'Must be at least 1.', found: '0', allowed: 'an integer from 1 to 65535' },
    ],
    ['an id', Id, 1.5, { message: 'Must be an integer.', found: '1.5', allowed: 'an integer at least 1' }],
    [
      'a word of a list',
      Type.Enum(['a', 'b']),
      'c',
      { message: 'Must be one of "a", "b".', found: '"c"', allowed: '"a", "b"' },
    ],
    [
      'an empty text',
      Type.String({ minLength: 1 }),
      '',
      { message: 'Must not be empty.', found: '0 characters', allowed: 'a string of at least 1 character' },
    ],
    [
      'a long text',
      Type.String({ maxLength: 3 }),
      '🙂🙂🙂🙂',
      {
        message: 'Must have at most 3 characters.',
        found: '4 characters',
        allowed: 'a string of at most 3 characters',
      },
    ],
    [
      'a form',
      Type.String({ pattern: '^[a-z]+$', description: 'Lowercase letters' }),
      'A1',
      {
        message: 'Has characters or a form that are not allowed.',
        found: '"A1"',
        allowed: 'a string: lowercase letters',
      },
    ],
    [
      'a UUID',
      Type.String({ format: 'uuid' }),
      'x',
      { message: 'Must be a UUID.', found: '"x"', allowed: 'a UUID' },
    ],
    [
      'too few items',
      Type.Array(Id, { minItems: 2 }),
      [1],
      { message: 'Must have at least 2 items.', found: '1 item', allowed: 'an array of at least 2 items' },
    ],
    [
      'a repeated item',
      Type.Array(Id, { uniqueItems: true }),
      [7, 8, 7],
      { message: 'Must not repeat an item; items 0 and 2 are equal.', allowed: 'an array' },
    ],
    [
      'an object for a text',
      Type.String(),
      { a: 1 },
      { message: 'Must be a string.', found: 'an object', allowed: 'a string' },
    ],
    [
      'null for an object',
      Closed({}),
      null,
      { message: 'Must be an object.', found: 'null', allowed: 'an object' },
    ],
  ];
  test.each(cases)('%s', (_, schema, value, expected) => {
    const [detail, ...more] = detailsOf(Closed({ field: schema }), { field: value });
    expect(detail).toEqual({ path: 'field', ...expected });
    expect(more).toEqual([]);
  });

  test('the nearest valid name is suggested', () => {
    const schema = Closed({ timeout: Type.Optional(Type.Integer()), port: Type.Optional(Type.Integer()) });
    const suggestions = ['tmeout', 'timeoutt', 'timeuot', 'Timeout', 'timeoux', 'time'].map(
      (name) => detailsOf(schema, { [name]: 1 })[0]?.message,
    );
    const suggested = 'Is not known here; did you mean timeout?';
    expect(suggestions).toEqual([
      suggested,
      suggested,
      suggested,
      suggested,
      suggested,
      'Is not known here.',
    ]);
  });

  test('long values are cut', () => {
    const [detail] = detailsOf(Closed({ n: Type.Integer() }), { n: 'x'.repeat(10_000) });
    expect(detail?.found).toHaveLength(60);
  });
});

describe('unions', () => {
  const Step = Type.Union([
    Closed({ type: Type.Literal('exec'), command: Type.String() }),
    Closed({ type: Type.Literal('copy'), from: Type.String(), to: Type.String() }),
  ]);

  test('a nullable value is described by its other type', () => {
    const schema = Closed({ credentialId: Nullable(Type.String({ format: 'uuid' })) });
    expect(detailsOf(schema, { credentialId: 'x' })).toEqual([
      { path: 'credentialId', message: 'Must be a UUID.', found: '"x"', allowed: 'a UUID, or null' },
    ]);
    expect(detailsOf(schema, { credentialId: 5 })).toEqual([
      {
        path: 'credentialId',
        message: 'Matches none of the allowed forms.',
        found: '5',
        allowed: 'a UUID or null',
      },
    ]);
  });

  test('only the intended one of tagged branches is reported', () => {
    const details = detailsOf(Type.Array(Step), [
      { type: 'exec', command: 'id' },
      { type: 'copy', from: 'a', too: 'b' },
      { type: 'exec', command: 5 },
    ]);
    expect(details.map(({ path, message }) => [path, message])).toEqual([
      ['[1].to', 'Is missing.'],
      ['[1].too', 'Is not known here; did you mean to?'],
      ['[2].command', 'Must be a string; put it in quotes.'],
    ]);
  });

  test('a tag of none of the branches is reported once, with the known tags', () => {
    expect(detailsOf(Step, { type: 'move', from: 'a' })).toEqual([
      { path: 'type', message: 'Must be one of "exec", "copy".', found: '"move"', allowed: '"exec", "copy"' },
    ]);
  });

  test('errors next to a union are kept', () => {
    const schema = Closed({ a: Type.Integer(), step: Step, z: Type.Integer() });
    const details = detailsOf(schema, { a: 'x', step: { type: 'exec' }, z: 'y' });
    expect(details.map((one) => one.path)).toEqual(['a', 'step.command', 'z']);
  });
});

describe('secrets', () => {
  test('the value of a secret field is never repeated', () => {
    const schema = Closed({
      newPassword: Type.Integer(),
      sealed: Closed({ data: Type.String({ pattern: '^x$' }) }),
      token: Type.String({ maxLength: 3 }),
      code: Type.Enum(['a']),
    });
    const details = detailsOf(schema, {
      newPassword: 'hunter2',
      sealed: { data: 'hunter3' },
      token: 'hunter4',
      code: 'hunter5',
    });
    expect(details).toHaveLength(4);
    expect(JSON.stringify(details)).not.toMatch(/hunter|7 char/);
  });

  test('names are compared word by word', () => {
    expect(['user_password', 'sealed.ciphertext', 'steps[0].apiToken', 'Secret'].every(isSecretPath)).toBe(
      true,
    );
    expect(['encoded', 'tokens', 'steps[0].config.script', 'codec'].some(isSecretPath)).toBe(false);
  });
});

describe('the host of a target', () => {
  const messageOf = (host: string) =>
    detailsOf(CreateTargetRequestSchema, { segmentId: 1, name: 'web-1', host })[0]?.message;

  test.each([
    ...['web-1', 'web_1.example.com.', '7-up', '10.0.0.1.nip.example', '1e1'],
    ...['10.0.0.1', '255.255.255.255', '0.0.0.0', '::1', 'fe80:0:0:0:1:2:3:4', '::ffff:10.0.0.1'],
  ])('may be %s', (host) => {
    expect(messageOf(host)).toBeUndefined();
  });

  test.each([
    ['10.0.0.1:2222', '10.0.0.1'],
    ['web-1:22', 'web-1'],
    ['[::1]:22', '::1'],
    ['deploy@web-1', 'web-1'],
    ['ssh://deploy@web-1:22', 'web-1'],
  ])('is refused with what is not part of it: %s', (host, alone) => {
    expect(messageOf(host)).toBe(
      `Must be a host name or an IP address alone (IPv4: four numbers of 0 to 255): the port and the user have fields of their own; write ${alone}.`,
    );
  });
});

test.each(['10.0.0.300', '10.0.0', '10', '010.0.0.1', '10.0.0.1.', '1.2.3.4.5'])(
  'digits and dots that are no IPv4 address are no host: %s',
  (host) => {
    const [problem] = detailsOf(CreateTargetRequestSchema, { segmentId: 1, name: 'web-1', host });
    expect(problem).toMatchObject({ path: 'host', found: JSON.stringify(host) });
  },
);

test('the request schemas compile in strict mode and fill their defaults', () => {
  expect(ajv.compile(CreateTargetRequestSchema)({ segmentId: 1, name: 'web-1', host: '10.0.0.1' })).toBe(
    true,
  );
  const value = { name: 'dmz-1' };
  expect(ajv.compile(CreateSegmentRequestSchema)(value)).toBe(true);
  expect(value).toMatchObject({ unknownAfter: 300 });
});
