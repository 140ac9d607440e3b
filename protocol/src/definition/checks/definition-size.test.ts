import { describe, expect, it } from 'vitest';
import { limits } from '../../limits.ts';
import { checkDefinition } from '../check-definition.ts';

const step = { name: 'ask', type: 'ssh.exec', config: { command: 'uptime' } };
const many = <T>(count: number, of: (n: number) => T): T[] => Array.from({ length: count }, (_, n) => of(n));
const value = '${{ parameters.p }}';
const named = <T>(count: number, name: string, of: (n: number) => T) =>
  Object.fromEntries(many(count, (n) => [`${name}${n}`, of(n)]));

/** If a definition is too large, nothing else may be checked. */
const problemsOf = (definition: object) =>
  checkDefinition(definition, {
    checkSchema: () => {
      throw new Error('the schema was asked');
    },
  });

describe('a definition that is too large as a whole', () => {
  it.each<[string, object, string, RegExp]>([
    [
      'values, wherever they are',
      { steps: [step], parameters: named(40, 'p', () => ({ type: 'string', enum: many(1_000, String) })) },
      '',
      /more than 12,000 values.*Keep what is so long in a file/,
    ],
    ['keys that are not known', { steps: [step], ...named(80_000, 'key', Number) }, '', /12,000 values/],
    [
      'rules at their greatest length',
      { steps: [step], rules: many(100, () => ({ check: `true${' || true'.repeat(240)}`, message: 'no' })) },
      'rules[15].check',
      /more than 30,000 characters together; write shorter ones/,
    ],
    [
      'conditions of steps beside rules',
      {
        steps: many(30, () => ({ ...step, when: 'x'.repeat(1_000) })),
        rules: many(10, () => ({ when: 'x'.repeat(1_900), check: 'true' })),
      },
      'steps[10].when',
      /30,000 characters/,
    ],
    [
      'patterns at their greatest size, also inside parameters',
      {
        steps: [{ ...step, outputs: named(20, 'o', () => ({ pattern: 'a{900}' })) }],
        parameters: named(20, 'p', () => ({ type: 'array', items: { type: 'string', pattern: 'b{900}' } })),
      },
      'steps[0].outputs.o13.pattern',
      /more than 30,000 together.*give lengths by minLength/,
    ],
    [
      'outputs of many steps',
      { steps: many(14, () => ({ ...step, outputs: named(30, 'o', () => ({ file: true })) })) },
      'steps[13].outputs.o10',
      /at most 400 outputs.*hand on several as one/,
    ],
    [
      'placeholders, wherever they stand',
      { steps: many(4, () => ({ ...step, config: { environment: named(900, 'V', () => value) } })) },
      'steps[3].config',
      /more than 3,000 placeholders together; put a value into one variable/,
    ],
    [
      'scripts with values',
      { steps: many(3, () => ({ ...step, config: { command: `echo ${value}`.padEnd(60_000) } })) },
      'steps[2].config.command',
      /more than 131,072 characters together; keep a long one in a file on the host/,
    ],
    [
      'several things that are each within their limits',
      {
        steps: [{ ...step, config: { command: `echo ${value}`.padEnd(100_000) } }],
        rules: many(10, () => ({ check: 'x'.repeat(1_500), message: 'no' })),
      },
      '',
      /come to 127 % of what is allowed together\. Shorten/,
    ],
  ])('gets only that problem, at once: %s', (_, definition, path, message) => {
    const problems = problemsOf({ name: 'job', ...definition });
    expect(problems).toMatchObject([
      { path, message: expect.stringMatching(message), allowed: expect.any(String) },
    ]);
  });

  it('lists the sizes of its parts if only their sum is too large', () => {
    const steps = [{ ...step, config: { command: `echo ${value}`.padEnd(100_000) } }];
    const rules = many(10, () => ({ check: 'x'.repeat(1_500), message: 'no' }));
    expect(problemsOf({ name: 'job', steps, rules })[0]?.found).toBe(
      'characters of scripts with values: 100,000 of 131,072; characters of conditions and checks: 15,000 of 30,000',
    );
  });

  it('is checked completely up to the limit', () => {
    const outputs = named(25, 'o', () => ({ pattern: 'a{20}' }));
    const steps = many(7, (n) => ({ ...step, name: `step ${n}`, outputs }));
    const when = `"${'x'.repeat(limits.maxExpressionLength - 13)}" != "y"`;
    const rules = many(5, () => ({ check: when.padEnd(limits.maxExpressionLength), message: 'no' }));
    expect(checkDefinition({ name: 'job', steps, rules })).toEqual([]);
    const long = { ...step, config: { command: 'true\n'.repeat(26_000) } };
    expect(checkDefinition({ name: 'job', steps: [long] })).toEqual([]);
  });

  it('may have parts of the wrong type, which the schema reports', () => {
    const odd = {
      name: 'job',
      steps: [null, { when: 1, outputs: [{ pattern: 2 }] }],
      parameters: 'none',
      rules: {},
    };
    expect(checkDefinition(odd).map(({ path }) => path)).toContain('parameters');
  });
});
