import { describe, expect, it } from 'vitest';
import type { Parameters } from '../api/jobs/parameters.ts';
import { limits } from '../limits.ts';
import { type Evaluation, readExpression, toldWithPlace } from './expression.ts';
import type { ExpressionScope } from './scope.ts';

const parameters: Parameters = {
  text: { type: 'string' },
  count: { type: 'integer' },
  ratio: { type: 'number' },
  sure: { type: 'boolean' },
  list: { type: 'array', items: { type: 'string' } },
  numbers: { type: 'array', items: { type: 'integer' } },
  box: {
    type: 'object',
    properties: { size: { type: 'integer' }, note: { type: 'string', required: false } },
  },
  free: { type: 'object' },
  maybe: { type: 'string', required: false },
  password: { type: 'string', secret: true },
};
const scope: ExpressionScope = {
  parameters,
  onTarget: {
    steps: { probe: { outputs: { found: {}, key: { secret: true }, late: { mayBeAbsent: true } } } },
  },
};
const values = {
  parameters: {
    text: 'abc',
    count: 5,
    ratio: 1,
    sure: true,
    list: ['x', 'y'],
    numbers: [1, 2, 3],
    box: { size: 3 },
    free: { deep: [{ n: 1 }], half: 0.5 },
    password: 'hunter2',
  },
  target: { name: 'web-1', host: '10.0.0.1', port: 22, os: 'linux', segment: 'dmz', labels: { env: 'prod' } },
  run: { id: 7, created_at: '2026-11-25T00:00:00.000Z', created_by: 'ada' },
  job: { id: 1, name: 'job', version: 3 },
  steps: { probe: { outputs: { found: 'yes' } } },
};

function evaluate(text: string, given: object = values): Evaluation {
  const read = readExpression(text, scope);
  if ('problems' in read) throw new Error(read.problems.map(toldWithPlace).join(' '));
  return read.expression.evaluate(given as typeof values);
}
const told = (text: string) => {
  const read = readExpression(text, scope);
  return 'problems' in read ? read.problems.map(toldWithPlace) : [];
};

describe('an expression', () => {
  it.each([
    ['parameters.text == "abc"', true],
    ['parameters.count > 4 && parameters.ratio < 1.5', true],
    ['parameters.ratio == 1.0', true],
    ['parameters.box.size * 2 == 6', true],
    ['parameters.free.deep[0].n == 1', true],
    ['parameters.free.half < 1', true],
    ['"x" in parameters.list && !("z" in parameters.list)', true],
    ['parameters.numbers.map(n, n * n) == [1, 4, 9]', true],
    ['parameters.numbers.filter(n, n > 1).size() == 2', true],
    ['parameters.list.exists(parameters, parameters == "y")', true],
    ['parameters.text.matches("^[a-c]+$")', true],
    ['parameters.text.contains("bc") && parameters.text.indexOf("c") == 2', true],
    ['parameters.list.join("-").split("-") == parameters.list', true],
    ['has(parameters.maybe) && parameters.maybe == ""', false],
    ['has(parameters.box.note) || parameters.sure', true],
    ['target.labels.env == "prod" && target.port == 22 && "zone" in target.labels', false],
    ['steps.probe.outputs.found == "yes" && !has(steps.probe.outputs.late)', true],
    ['run.created_by == "ada" && job.version == 3 && run.created_at < "2027"', true],
    ['parameters["text"] == "abc"', true],
    ['parameters.sure ? parameters.count == 5 : false', true],
    ['string(parameters.count) + "!" == "5!" && int("7") == 7', true],
  ])('%s is %s', (text, value) => {
    expect(evaluate(text)).toMatchObject({ ok: true, value });
  });

  it.each([
    [
      'parameters.text == 5',
      'Column 1: Text can’t be compared with an integer by ==. Convert the text with int(…) or double(…), or the number with string(…).',
    ],
    [
      'parameters.ratio * 2 > 1.0',
      'Column 1: * needs two numbers of one kind: write a whole number as `1.0` beside a number, or convert with double(…) or int(…).',
    ],
    [
      'parameters.sure == "true"',
      'Column 1: True or false can’t be compared with text by ==. Write true and false without quotes.',
    ],
    ['!parameters.text', 'Column 1: ! needs true or false, and this is text.'],
    ['parameters.sure && 1', 'Column 1: Both sides of && and || must be true or false; one is an integer.'],
    ['parameters.count', 'Column 1: Must be true or false; this is an integer.'],
    ['parameters.cuont == 1', 'Column 1: parameters has no cuont; did you mean count?'],
    ['count == 1', 'Column 1: Write `parameters.count`.'],
    ['params.count == 1', 'Column 1: There is no params here.'],
    ['true &&\n  foo', 'Line 2, column 3: There is no foo here.'],
    ['parameters.text.size == 1', 'Column 1: parameters.text has nothing inside it: it is not an object.'],
    ['parameters.text.contain("b")', 'Column 17: There is no function contain; did you mean contains?'],
    [
      'parameters.text.contains(1)',
      'Column 1: contains is not called like this; its form is `text.contains(part)`.',
    ],
    ['timestamp("x") == 1', 'Column 1: There is no function timestamp.'],
    ['parameters.text = "x"', 'Column 17: Compare with `==`; nothing is assigned in an expression.'],
    ['parameters.sure and true', 'Column 17: Write `&&` for “and”.'],
    ['parameters.sure or true', 'Column 17: Write `||` for “or”.'],
    ['not parameters.sure', 'Column 5: Write `!` for “not”.'],
    ['parameters.sure & true', 'Column 17: Write `&&` for “and”.'],
    [
      '${{ parameters.sure }}',
      'Column 1: Placeholders don’t work here: use the value itself, such as `parameters.x`.',
    ],
    ['parameters.text == "abc', 'Column 20: The text that begins here has no closing quote.'],
    ['(parameters.sure', 'Column 17: `)` is expected here.'],
    ['parameters.sure &&', 'Column 19: Ends where a value is expected.'],
    ['&& parameters.sure', 'Column 1: A value is expected here.'],
    ['parameters.list == ["x", 1]', 'Column 26: The values of a list must be of one type.'],
    [
      'parameters.text.matches("(?=x)")',
      'Column 25: Character 1 of the pattern: Look-ahead is not supported; express it with a second check, such as a rule.',
    ],
    [
      'parameters.text.matches(target.name)',
      'Column 25: The pattern of matches() must be written out here, in quotes.',
    ],
    [
      'parameters.maybe == ""',
      'Column 1: parameters.maybe may have no value; ask first: `has(parameters.maybe) && …`, or give it a default.',
    ],
    [
      'parameters.box.note == ""',
      'Column 1: parameters.box.note may have no value; ask first: `has(parameters.box.note) && …`, or give it a default.',
    ],
    [
      'steps.probe.outputs.late == ""',
      'Column 1: steps.probe.outputs.late may have no value; ask first: `has(steps.probe.outputs.late) && …`, or give it a default.',
    ],
    [
      'steps.prob.outputs.found == ""',
      'Column 1: No step before this one is called prob; did you mean probe?',
    ],
    ['steps.probe.outputs.fuond == ""', 'Column 1: steps.probe.outputs has no fuond; did you mean found?'],
    ['size(steps.probe.outputs) == 1', 'Column 6: Name an output: `steps.<id>.outputs.<name>`.'],
    ['size(parameters) == 1', 'Column 6: Name one of them: `parameters.<name>`.'],
    ['parameters[target.name] == ""', 'Column 1: Name one of them: `parameters.<name>`.'],
  ])('%s gets the message: %s', (text, message) => {
    expect(told(text)).toEqual([message]);
  });

  it('reports all wrong names at once', () => {
    expect(told('parameters.x == 1 &&\nparameters.y == 2')).toEqual([
      'Column 1: parameters has no x.',
      'Line 2, column 1: parameters has no y.',
    ]);
  });

  it('needs no has() at run time, and then reports what is absent', () => {
    const read = readExpression('parameters.maybe == "x"', scope, { mayBeAbsent: true });
    const result = 'expression' in read ? read.expression.evaluate(values) : undefined;
    expect(result).toMatchObject({
      ok: false,
      message: 'Column 12: There is no value for maybe; ask `has(…)` first.',
    });
  });

  it('can not refer to a secret in any way', () => {
    for (const text of [
      'parameters.password == "x"',
      'has(parameters.password)',
      'parameters["password"].startsWith("h")',
      'steps.probe.outputs.key == ""',
    ])
      expect(told(text).join()).toContain('is secret, and expressions can’t refer to secrets');
    for (const text of [
      'parameters["pass" + "word"] == ""',
      '{"a": parameters}["a"].password == ""',
      '[parameters].exists(p, p.password == "")',
    ])
      expect(told(text).join()).toContain('Name one of them');
  });

  it('is not affected by names that every JavaScript object has', () => {
    expect(told('parameters.toString == ""')).toEqual(['Column 1: parameters has no toString.']);
    expect(told('toString(parameters.count) == ""').join()).toContain('There is no function toString');
    expect(evaluate('has(parameters.free.constructor)')).toMatchObject({ ok: true, value: false });
  });

  it('whose values have unexpected types says so, with its place', () => {
    expect(evaluate('parameters.free.nothing == 1')).toMatchObject({
      ok: false,
      message: 'Column 17: There is no value for nothing; ask `has(…)` first.',
    });
    expect(evaluate('parameters.list[7] == ""')).toMatchObject({
      ok: false,
      message: 'Column 1: The list has no value at this place; ask `size(…)` first.',
    });
    expect(evaluate('1 / (parameters.count - 5) == 1')).toMatchObject({
      ok: false,
      message: 'Column 1: Divides by zero.',
    });
  });
});

describe('the cost of an expression', () => {
  const numbers = Array.from({ length: 10_000 }, (_, n) => n);
  const large = { ...values, parameters: { ...values.parameters, numbers, text: 'a'.repeat(100_000) } };

  it.each([
    [
      'loops inside loops',
      'parameters.numbers.all(a, parameters.numbers.all(b, parameters.numbers.all(c, a + b + c >= 0)))',
    ],
    [
      'loops whose errors are swallowed',
      'parameters.numbers.exists(a, parameters.numbers.exists(b, b / 0 == a)) || true',
    ],
    ['a long text that is sought in a long text', 'parameters.text.contains(parameters.text + "b")'],
    ['texts that double', 'size(parameters.numbers.map(n, parameters.text + parameters.text)) > 1'],
    [
      'a list that is joined by a long text',
      'size((parameters.numbers + parameters.numbers + parameters.numbers).map(n, "a").join(parameters.text)) > 1',
    ],
    [
      'lists that are compared again and again',
      'parameters.numbers.all(n, parameters.numbers == parameters.numbers.map(m, m))',
    ],
    [
      'a pattern on a long text, again and again',
      'parameters.numbers.all(n, parameters.text.matches("^(a|b|ab)*c?$"))',
    ],
  ])('is bounded for %s', (_, text) => {
    const result = evaluate(text, large);
    expect(result).toMatchObject({
      ok: false,
      message: 'Costs more than an expression may: its values are too large for what it does with them.',
    });
    expect(result.steps).toBeLessThanOrEqual(limits.maxExpressionSteps);
  });

  it('leaves enough room for ordinary rules', () => {
    expect(evaluate('parameters.numbers.all(n, n >= 0 && n < 100000)', large)).toMatchObject({
      ok: true,
      value: true,
    });
    expect(
      evaluate('parameters.text.matches("^a+$") && size(parameters.text) == 100000', large),
    ).toMatchObject({
      ok: true,
      value: true,
    });
  });

  it('is refused when it is written: too long, too deep, too many parts', () => {
    expect(told(`${'('.repeat(40)}true${')'.repeat(40)}`)).toEqual([
      'Column 33: Is nested deeper than 32 levels.',
    ]);
    expect(told(Array(250).fill('true').join('||'))).toEqual([
      expect.stringContaining('Has more than 400 parts.'),
    ]);
    expect(told(`[${Array(250).fill('1').join()}] == []`)).toEqual([
      expect.stringContaining('A list has 200 values at most here.'),
    ]);
    expect(told('x'.repeat(2_001))).toEqual(['Column 1: Has 2001 characters; 2000 are allowed.']);
    expect(told(`parameters.text.matches("(a{999}){999}")`)).toEqual([
      expect.stringContaining('Is too large with its repetitions'),
    ]);
  });
});

it.each([
  'bool(parameters.text)',
  'int(parameters.text) > 1',
  'double(parameters.text) > 1.0',
  'parameters.open[parameters.text] == 1',
  'target.labels[parameters.text] == ""',
  'parameters.count + 9223372036854775807 > 1',
])('%s fails without revealing the value', (text) => {
  const scope = {
    parameters: {
      text: { type: 'string' as const },
      count: { type: 'integer' as const },
      open: { type: 'object' as const, additionalProperties: true },
    },
    onTarget: { steps: {} },
  };
  const read = readExpression(text, scope, { mayBeAbsent: true });
  if (!('expression' in read)) throw new Error(read.problems[0]?.message);
  const values = { parameters: { text: 'VALUE', count: 42, open: {} }, target: { labels: {} } };
  const result = read.expression.evaluate(values);
  expect(result).toMatchObject({ ok: false });
  expect(JSON.stringify(result)).not.toMatch(/VALUE|85|807/);
});
