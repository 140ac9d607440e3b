import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Parameters, parameterFormats, type ValueDefinition } from '../api/jobs/parameters.ts';
import { limits } from '../limits.ts';
import { checkParameters } from './check-parameters.ts';
import { checkRules } from './check-rules.ts';
import { compileParameters } from './compile-parameters.ts';
import { isMultipleOf } from './decimal.ts';
import { describeValue } from './describe-value.ts';
import { hasFormat } from './formats.ts';

const told = (parameters: Parameters, given: unknown, options = {}) =>
  compileParameters(parameters)
    .check(given, options)
    .problems.map(
      ({ path, message, found }) => `${path}: ${message}${found === undefined ? '' : ` (${found})`}`,
    );

describe('what a run is given', () => {
  const parameters: Parameters = {
    name: { type: 'string', minLength: 2, maxLength: 5 },
    level: { type: 'string', enum: ['basic', 'full'], default: 'basic' },
    count: { type: 'integer', minimum: 1, maximum: 10, default: 3 },
    ratio: { type: 'number', exclusiveMinimum: 0, multipleOf: 0.1, required: false },
    sure: { type: 'boolean', default: false },
    hosts: {
      type: 'array',
      items: { type: 'string', pattern: '^[a-z]+$' },
      minItems: 1,
      uniqueItems: true,
      required: false,
    },
    box: {
      type: 'object',
      properties: {
        size: { type: 'integer' },
        color: { type: 'string', default: 'red' },
        note: { type: 'string', required: false },
      },
      required: false,
    },
    key: { type: 'string', secret: true, minLength: 8, required: false },
  };

  it('is returned with defaults, also inside objects, and is not modified', () => {
    const given = { name: 'ada', box: { size: 1 } };
    const { values, problems } = compileParameters(parameters).check(given);
    expect(problems).toEqual([]);
    expect(values).toEqual({
      name: 'ada',
      level: 'basic',
      count: 3,
      sure: false,
      box: { size: 1, color: 'red' },
    });
    expect(given).toEqual({ name: 'ada', box: { size: 1 } });
  });

  it('gets all its problems at once: the place, what was found, what is allowed', () => {
    const given = {
      name: 'a',
      level: 'fulll',
      count: '3',
      ratio: 0.25,
      sure: 'yes',
      hosts: ['a', 'B', 'a'],
      box: { size: 1.5, weight: 2 },
      extra: 1,
      key: 'hunter2',
    };
    expect(compileParameters(parameters).check(given).problems).toEqual([
      {
        path: 'parameters.name',
        message: 'Must have at least 2 characters.',
        found: '1 character',
        allowed: 'a string of 2 to 5 characters',
      },
      {
        path: 'parameters.level',
        message: 'Must be one of "basic", "full"; did you mean "full"?',
        found: '"fulll"',
        allowed: '"basic", "full"',
      },
      {
        path: 'parameters.count',
        message: 'Must be an integer; write it without quotes.',
        found: '"3"',
        allowed: 'an integer from 1 to 10',
      },
      {
        path: 'parameters.ratio',
        message: 'Must be a multiple of 0.1.',
        found: '0.25',
        allowed: 'a number above 0, a multiple of 0.1',
      },
      {
        path: 'parameters.sure',
        message: 'Must be true or false; write true without quotes.',
        found: '"yes"',
        allowed: 'true or false',
      },
      {
        path: 'parameters.hosts',
        message: 'Must not repeat an item; items 0 and 2 are equal.',
        allowed: 'an array of at least 1 item',
      },
      {
        path: 'parameters.hosts[1]',
        message: 'Does not match the pattern ^[a-z]+$.',
        found: '"B"',
        allowed: 'a string matching ^[a-z]+$',
      },
      { path: 'parameters.box.size', message: 'Must be an integer.', found: '1.5', allowed: 'an integer' },
      { path: 'parameters.box.weight', message: 'Is not known here.', allowed: 'size, color, note' },
      {
        path: 'parameters.key',
        message: 'Must have at least 8 characters.',
        allowed: 'a string of at least 8 characters',
      },
      {
        path: 'parameters.extra',
        message: 'Is not known here.',
        allowed: 'name, level, count, ratio, sure, hosts, box, key',
      },
    ]);
  });

  it('is never an array, text or nothing', () => {
    for (const given of [[], 'x', null, 7])
      expect(told(parameters, given).join()).toContain('parameters: Must be an object.');
    expect(told(parameters, {})).toEqual(['parameters.name: Is missing.']);
    expect(told(parameters, { nmae: 'ada', Name: 'x' }, { root: 'body.parameters' })).toEqual([
      'body.parameters.name: Is missing.',
      'body.parameters.nmae: Is not known here; did you mean name?',
      'body.parameters.Name: Is not known here; did you mean name?',
    ]);
  });

  it('is never converted to another type', () => {
    const one = (type: ValueDefinition['type'], value: unknown) =>
      told({ x: { type } as ValueDefinition }, { x: value });
    expect(one('integer', 3.0)).toEqual([]);
    for (const [type, value] of [
      ['integer', '3'],
      ['integer', 3.5],
      ['integer', true],
      ['number', '1'],
      ['boolean', 0],
      ['boolean', 'false'],
      ['string', 1],
      ['string', null],
      ['array', { 0: 'x' }],
      ['array', 'x'],
      ['object', []],
      ['object', null],
    ] as const)
      expect(one(type, value)).toHaveLength(1);
    expect(one('integer', 2 ** 53)).toEqual([
      'parameters.x: Is beyond 9007199254740991, above which whole numbers are not exact; make the parameter a string. (9007199254740992)',
    ]);
  });

  it('has no text that no program can take, at any depth and even where nothing is declared', () => {
    const free: Parameters = { x: { type: 'object' } };
    expect(told(free, { x: { a: [{ b: 'c\0' }] } })).toEqual([
      'parameters.x.a[0].b: Must not contain the NUL character (U+0000); remove it. ("c\\u0000")',
    ]);
    expect(told(free, { x: { a: '\ud800' } }).join()).toContain('half a surrogate pair');
    expect(told(free, { x: { 'a\0': 1 } })).toHaveLength(1);
    expect(told(free, JSON.parse('{"x":{"__proto__":{"a":1}}}')).join()).toContain('Is not known here');
    expect(told(free, JSON.parse('{"__proto__":{"x":{}}}'))).toHaveLength(2);
  });

  it('takes no more than the allowed time, whatever its patterns are', () => {
    const slow: Parameters = {
      x: { type: 'array', items: { type: 'string', pattern: '^([a-z]+)*$', maxLength: 200_000 } },
    };
    const long = 'a'.repeat(100_000);
    expect(told(slow, { x: [long, long, long] })).toEqual([
      expect.stringContaining('parameters.x[1]: Is too long to be matched against its pattern'),
      expect.stringContaining('parameters.x[2]: Is too long to be matched against its pattern'),
    ]);
  });

  it('is limited in bytes as a whole', () => {
    const wide = Object.fromEntries(['a', 'b', 'c'].map((name) => [name, { type: 'string' as const }]));
    const given = Object.fromEntries(['a', 'b', 'c'].map((name) => [name, 'x'.repeat(100_000)]));
    expect(told(wide, given)).toEqual([expect.stringContaining('All parameters together have 300')]);
  });

  it('may have secrets that were given sealed, whose values are not checked', () => {
    const secret: Parameters = {
      key: { type: 'string', secret: true },
      open: { type: 'string', required: false },
    };
    expect(told(secret, {}, { sealed: ['key'] })).toEqual([]);
    expect(told(secret, {})).toEqual(['parameters.key: Is missing.']);
    expect(told(secret, {}, { sealed: ['key', 'other', 'open'] })).toEqual([
      'parameters.open: Is not a secret: give its value as it is.',
      'parameters.other: Is not known here.',
    ]);
  });
});

describe('formats', () => {
  it.each([
    ['date', ['2026-11-25', '2024-02-29'], ['2025-02-29', '2026-13-01', '2026-1-1', '2026-11-25T00:00:00Z']],
    [
      'time',
      ['22:30', '22:30:15', '22:30:15.5Z', '22:30+02:00'],
      ['24:00', '22:60', '2:30', '22:30:60', 'noon'],
    ],
    [
      'date-time',
      ['2026-11-25T22:30:00Z', '2026-11-25T22:30:00.123+01:00'],
      ['2026-11-25', '2026-11-25T22:30Z', '2026-11-25T22:30:00', '2026-02-30T22:30:00Z'],
    ],
    [
      'email',
      ['ada@example.com', "o'hara+x@a-b.org"],
      ['ada', '@x.org', 'a@', 'a..b@x.org', 'a b@x.org', '.a@x.org', 'a@-x.org'],
    ],
    [
      'hostname',
      ['web-1', 'web-1.example.com'],
      ['-web', 'web-', 'a..b', 'web_1', `${'a'.repeat(64)}.org`, ''],
    ],
    ['ipv4', ['192.0.2.7'], ['192.0.2', '192.0.2.256', '010.0.0.1', '::1', '192.0.2.7/24']],
    ['ipv6', ['::1', '2001:db8::7', '::ffff:10.0.0.1'], ['192.0.2.7', '2001:db8', 'fe80::1%eth0', '[::1]']],
    [
      'uri',
      ['https://example.com/a?b#c', 'urn:x:y', 'mailto:a@b'],
      ['example.com', '//x', 'http://a b', 'http://%zz', 'http://ü'],
    ],
    ['uuid', ['6f1c2d3e-4b5a-4978-8c6d-0123456789ab'], ['6f1c2d3e4b5a49788c6d0123456789ab', 'x']],
  ] as const)('%s', (format, good, bad) => {
    expect(good.filter((text) => !hasFormat(format, text))).toEqual([]);
    expect(bad.filter((text) => hasFormat(format, text))).toEqual([]);
    expect(told({ x: { type: 'string', format } }, { x: 'no\tnever' })[0]).toMatch(
      /^parameters\.x: Must be an? .* such as /,
    );
  });

  it('take time in proportion to the text', () => {
    for (const format of parameterFormats)
      for (const text of [
        'a.'.repeat(50_000),
        'a'.repeat(100_000),
        `a@${'a-'.repeat(50_000)}`,
        `http:${'%'.repeat(100_000)}`,
        ':'.repeat(100_000),
      ])
        hasFormat(format, text);
  });
});

it('a decimal fraction is a multiple of another as they are written', () => {
  expect([0.3, 1.1, 1e21, 0, -0.7, 1e-7].map((value) => isMultipleOf(value, 0.1))).toEqual([
    true,
    true,
    true,
    true,
    true,
    false,
  ]);
  expect(isMultipleOf(1e308, 1e-320)).toBe(true);
  expect(isMultipleOf(7, 2)).toBe(false);
});

describe('the JSON Schema of parameters', () => {
  const leaf = fc.oneof(
    fc.record({
      type: fc.constant('string' as const),
      minLength: fc.nat(3),
      maxLength: fc.integer({ min: 3, max: 6 }),
    }),
    fc.record({ type: fc.constant('string' as const), pattern: fc.constantFrom('^a', 'b$', '^[ab]*$', '.') }),
    fc.record({
      type: fc.constant('integer' as const),
      minimum: fc.integer({ min: -3, max: 0 }),
      exclusiveMaximum: fc.integer({ min: 1, max: 5 }),
    }),
    fc.record({ type: fc.constant('number' as const), maximum: fc.integer({ min: 0, max: 4 }) }),
    fc.constant({ type: 'boolean' as const }),
    fc.record({ type: fc.constant('string' as const), enum: fc.constant<unknown[]>(['a', 'b']) }),
  );
  const definition: fc.Arbitrary<ValueDefinition> = fc.oneof(
    leaf,
    fc.record({
      type: fc.constant('array' as const),
      items: leaf,
      maxItems: fc.nat(3),
      uniqueItems: fc.boolean(),
    }),
    fc.record({
      type: fc.constant('object' as const),
      properties: fc.dictionary(fc.constantFrom('p', 'q'), leaf),
      additionalProperties: fc.boolean(),
    }),
  );
  const value = fc.oneof(
    fc.constantFrom<unknown>('a', 'b', 'ab', 'abcdefg', '', 0, 1, -4, 2.5, 7, true, false, null),
    fc.array(fc.constantFrom<unknown>('a', 'b', 1, 2.5, true), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom('p', 'q', 'r'), fc.constantFrom<unknown>('a', 1, true)),
  );
  const named = <T>(one: fc.Arbitrary<T>) => fc.dictionary(fc.constantFrom('x', 'y', 'z'), one);

  it('accepts what we accept', () => {
    fc.assert(
      fc.property(named(definition), named(value), (parameters, given) => {
        const compiled = compileParameters(parameters);
        const ajv = new Ajv2020({ strict: true, strictRequired: false, formats: {} });
        const accepts = ajv.compile(compiled.schema);
        expect(compiled.check(given).problems.length === 0).toBe(accepts(given));
      }),
      { numRuns: 60 },
    );
  });
});

describe('parameters that are saved', () => {
  const of = (parameters: object) =>
    checkParameters(parameters).map(({ path, message }) => `${path}: ${message}`);

  it('are accepted if their defaults are values that they allow', () => {
    expect(
      of({
        a: { type: 'string', default: 'x', enum: ['x', 'y'] },
        b: { type: 'array', items: { type: 'integer', minimum: 1 }, default: [1] },
      }),
    ).toEqual([]);
  });

  it('are checked however wrong they are otherwise', () => {
    for (const parameters of [
      null,
      7,
      [],
      { a: null },
      { a: { type: 'strange', enum: 5, items: [] } },
      { a: { type: 'string', enum: 'x', default: 1, pattern: 5 } },
      { a: { type: 'object', properties: [] } },
    ])
      expect(() => checkParameters(parameters)).not.toThrow();
  });

  it('are not nested without end', () => {
    let items: object = { type: 'string' };
    for (let depth = 0; depth < 20; depth++) items = { type: 'array', items };
    expect(of({ a: items })).toEqual([
      `parameters.a${'.items'.repeat(limits.maxParameterDepth)}: Is nested deeper than 4 levels.`,
    ]);
  });
});

describe('rules', () => {
  const parameters: Parameters = {
    from: { type: 'integer' },
    to: { type: 'integer' },
    mode: { type: 'string', enum: ['basic', 'custom'], default: 'basic' },
    script: { type: 'string', required: false },
    key: { type: 'string', secret: true, required: false },
  };
  const rules = [
    { check: 'parameters.from <= parameters.to', message: 'The end is before the beginning.' },
    {
      when: 'parameters.mode == "custom"',
      require: ['script', 'key'],
      message: 'A custom run needs its script.',
    },
    { when: 'has(parameters.script)', check: 'parameters.script.startsWith("/")' },
  ];
  const problems = (given: object, options = {}) =>
    compileParameters(parameters, rules).check(given, options).problems;

  it('that hold report nothing', () => {
    expect(checkRules(rules, parameters)).toEqual([]);
    expect(problems({ from: 1, to: 2 })).toEqual([]);
    expect(problems({ from: 1, to: 2, mode: 'custom', script: '/x' }, { sealed: ['key'] })).toEqual([]);
  });

  it('that do not hold are reported in the author’s words, with what was found', () => {
    expect(problems({ from: 3, to: 2, mode: 'custom', script: 'x' })).toEqual([
      {
        path: 'parameters',
        message: 'The end is before the beginning.',
        found: 'from = 3, to = 2',
        allowed: '`parameters.from <= parameters.to`',
      },
      { path: 'parameters.key', message: 'A custom run needs its script.' },
      {
        path: 'parameters.script',
        message: 'Rule 3 does not hold.',
        found: '"x"',
        allowed: '`parameters.script.startsWith("/")`',
      },
    ]);
  });

  it('are skipped for parameters that are wrong in themselves, and apply to others as usual', () => {
    expect(problems({ from: '3', mode: 'custom' }).map(({ path, message }) => `${path}: ${message}`)).toEqual(
      [
        'parameters.from: Must be an integer; write it without quotes.',
        'parameters.to: Is missing.',
        'parameters.script: A custom run needs its script.',
        'parameters.key: A custom run needs its script.',
      ],
    );
  });
});

describe('what is hostile', () => {
  it('costs a bounded amount, however many rules there are', () => {
    const list = { type: 'array', items: { type: 'integer' } } as const;
    const check = 'parameters.l.all(a, parameters.l.all(b, parameters.l.all(c, a + b + c >= 0)))';
    const rules = Array.from({ length: 100 }, () => ({ check }));
    const { problems } = compileParameters({ l: list }, rules).check({
      l: Array.from({ length: 500 }, (_, at) => at),
    });
    expect(problems).toHaveLength(100);
    const skipped = problems.filter(({ message }) => message.includes('used up all that rules may cost'));
    expect(skipped.length).toBeGreaterThan(90);
  });

  it('is matched against patterns within one budget for the whole definition', () => {
    const pattern = '(a+)+$';
    const value = `${'a'.repeat(5_000)}b`;
    const many = Object.fromEntries(
      Array.from({ length: 100 }, (_, at) => [`p${at}`, { type: 'string', pattern, default: value }]),
    );
    const told = checkParameters(many).map(({ message }) => message);
    expect(told).toHaveLength(100);
    expect(told.filter((message) => message.startsWith('Is too long to be matched')).length).toBeGreaterThan(
      20,
    );
  });
});

it.each<[Parameters[string], string | undefined]>([
  [{ type: 'integer', minimum: 1, maximum: 50 }, 'an integer from 1 to 50'],
  [{ type: 'number', exclusiveMinimum: 0 }, 'a number above 0'],
  [{ type: 'string', minLength: 3, maxLength: 64 }, 'a string of 3 to 64 characters'],
  [{ type: 'string', pattern: '^CHG\\d+$' }, 'a string matching ^CHG\\d+$'],
  [{ type: 'array', minItems: 1, uniqueItems: true }, 'an array of at least 1 item, no two alike'],
  [{ type: 'string' }, undefined],
  [{ type: 'string', enum: ['a'] }, undefined],
  [{ type: 'object', properties: { a: { type: 'string' } } }, undefined],
])('a hint in a form says what %j may be', (definition, told) => {
  expect(describeValue(definition)).toBe(told);
});
