import { describe, expect, it } from 'vitest';
import { limits } from '../limits.ts';
import { checkDefinition } from './check-definition.ts';

const step = { name: 'ask', type: 'ssh.exec', config: { command: 'uptime' } };
const many = <T>(count: number, of: (n: number) => T): T[] => Array.from({ length: count }, (_, n) => of(n));
const named = <T>(count: number, name: string, of: (n: number) => T) =>
  Object.fromEntries(many(count, (n) => [`${name}${n}`, of(n)]));

/** Nothing else may be looked at where there is too much. */
const problemsOf = (definition: object) =>
  checkDefinition(definition, {
    checkSchema: () => {
      throw new Error('the schema was asked');
    },
  });

describe('a definition of which there is too much in all', () => {
  it.each<[string, object, string, RegExp]>([
    [
      'values, wherever they are',
      { steps: [step], parameters: named(40, 'p', () => ({ type: 'string', enum: many(1_000, String) })) },
      '',
      /more than 30,000 values.*Keep what is so long in a file/,
    ],
    ['keys that are not known', { steps: [step], ...named(80_000, 'key', Number) }, '', /30,000 values/],
    [
      'rules at their greatest length',
      { steps: [step], rules: many(100, () => ({ check: `true${' || true'.repeat(240)}`, message: 'no' })) },
      'rules[20].check',
      /more than 40,000 characters together; write shorter ones/,
    ],
    [
      'conditions of steps beside rules',
      {
        steps: many(30, () => ({ ...step, when: 'x'.repeat(1_000) })),
        rules: many(10, () => ({ when: 'x'.repeat(1_900), check: 'true' })),
      },
      'steps[20].when',
      /40,000 characters/,
    ],
    [
      'patterns at their greatest size, also inside parameters',
      {
        steps: [{ ...step, outputs: named(20, 'o', () => ({ pattern: 'a{900}' })) }],
        parameters: named(20, 'p', () => ({ type: 'array', items: { type: 'string', pattern: 'b{900}' } })),
      },
      'steps[0].outputs.o13.pattern',
      /more than 30,000 together.*say lengths by minLength/,
    ],
    [
      'outputs of many steps',
      { steps: many(14, () => ({ ...step, outputs: named(30, 'o', () => ({ file: true })) })) },
      'steps[13].outputs.o10',
      /400 outputs at most.*hand several on as one/,
    ],
  ])('is told of that alone, at once: %s', (_, definition, path, message) => {
    expect(problemsOf({ name: 'job', ...definition })).toEqual([
      { path, message: expect.stringMatching(message), allowed: expect.any(String) },
    ]);
  });

  it('is looked at whole up to the limit', () => {
    const outputs = named(25, 'o', () => ({ pattern: 'a{50}' }));
    const steps = many(16, (n) => ({ ...step, name: `step ${n}`, outputs }));
    const when = `"${'x'.repeat(limits.maxExpressionLength - 13)}" != "y"`;
    const rules = many(20, () => ({ check: when.padEnd(limits.maxExpressionLength), message: 'no' }));
    expect(checkDefinition({ name: 'job', steps, rules })).toEqual([]);
  });

  it('is one whose parts are what they are not, which the schema tells', () => {
    const odd = {
      name: 'job',
      steps: [null, { when: 1, outputs: [{ pattern: 2 }] }],
      parameters: 'none',
      rules: {},
    };
    expect(checkDefinition(odd).map(({ path }) => path)).toContain('parameters');
  });
});
