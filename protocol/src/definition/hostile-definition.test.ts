// Every place of a definition takes every kind of value: whatever is wrong is answered with problems, and these are
// short. The definition uses each word once, since checks look at a word only if those around it are right.
import { expect, test } from 'vitest';
import { checkDefinition } from './check-definition.ts';

const whole = {
  name: 'full',
  category: 'a/b',
  labels: { team: 'web' },
  strategy: { batches: [1, '50%'], max_failures: 1, order: 'name' },
  locks: [
    { name: 'a', mode: 'shared', slots: 2, per: 'segment' },
    { name: 'b', mode: 'exclusive' },
  ],
  parameters: {
    text: { type: 'string', default: 'x', pattern: '^[a-z]*$', minLength: 0, maxLength: 5 },
    number: {
      type: 'integer',
      minimum: 1,
      maximum: 10,
      exclusiveMinimum: 0,
      exclusiveMaximum: 20,
      multipleOf: 1,
      default: 2,
      enum: [1, 2],
    },
    maybe: { type: 'string', required: false },
    list: { type: 'array', items: { type: 'string' }, minItems: 0, maxItems: 3, default: ['a'] },
    object: { type: 'object', properties: { a: { type: 'string', default: 'q' } }, default: { a: 'x' } },
  },
  rules: [
    { check: 'parameters.number > 1', message: 'No.' },
    { when: 'parameters.number == 1', require: ['maybe'] },
  ],
  connection: { connect_timeout: 10 },
  steps: [
    {
      name: 'one',
      id: 'one',
      type: 'ssh.exec',
      when: 'parameters.number > 1',
      retry: { attempts: 2, delay: 5, max_delay: 10 },
      on_unknown: 'hold',
      hold_for: 60,
      outputs: { v: { pattern: 'a(b)', from: 'stdout', default: 'z' } },
      config: {
        command: 'echo "${{ parameters.text }}"',
        become: { user: 'root' },
        expected_exit_codes: [0],
      },
    },
    { name: 'two', type: 'wait_for', config: { port: 22, state: 'open', timeout: 5 } },
    {
      name: 'three',
      type: 'ssh.exec',
      when: 'has(steps.one.outputs.v)',
      config: { command: 'echo "${{ steps.one.outputs.v }}"' },
    },
  ],
};

/** JSON.parse makes `__proto__` a property, as it is in a request. */
const values: unknown[] = [
  ...[null, true, 0, -1, 1.5, 2 ** 53, 1e308, '', '\0', '\ud800', 'x'.repeat(10_000), '${{', '(((('],
  ...[[], [[]], [null], {}, Array(200).fill('x'), { ['x'.repeat(3_000)]: 1 }],
  ...['{"toString":1}', '[{"toString":1}]', '{"valueOf":1,"toString":2}', '{"toJSON":1}', '{"length":3}'].map(
    (text) => JSON.parse(text) as unknown,
  ),
  ...['{"__proto__":{"a":1}}', '{"constructor":{"prototype":1}}', '{"hasOwnProperty":1}'].map(
    (text) => JSON.parse(text) as unknown,
  ),
];

type Path = readonly (string | number)[];

function pathsIn(value: unknown, path: Path = []): Path[] {
  const inner = Array.isArray(value) ? [...value.entries()] : Object.entries(Object(value) as object);
  return [
    path,
    ...(typeof value === 'object' ? inner.flatMap(([key, each]) => pathsIn(each, [...path, key])) : []),
  ];
}

function withValue(path: Path, value: unknown): unknown {
  const last = path.at(-1);
  if (last === undefined) return structuredClone(value);
  const changed = structuredClone(whole);
  const place = path.slice(0, -1).reduce<unknown>((at, key) => Reflect.get(Object(at), key), changed);
  Reflect.set(Object(place), last, structuredClone(value));
  return changed;
}

test('any value at any place of a definition is answered with problems that are short', () => {
  expect(checkDefinition(structuredClone(whole))).toEqual([]);
  const surprises = new Set<string>();
  for (const path of pathsIn(whole)) {
    for (const value of values) {
      const where = `${path.join('.')} = ${JSON.stringify(value)?.slice(0, 60)}`;
      try {
        for (const { message, found = '', allowed = '' } of checkDefinition(withValue(path, value))) {
          const told = `${message} ${found} ${allowed}`;
          if (told.length > 2_000) surprises.add(`${where}: ${told.length} characters`);
          if (/\[object|NaN|undefined/.test(told)) surprises.add(`${where}: ${told}`);
        }
      } catch (error) {
        surprises.add(`${where}: ${error}`);
      }
    }
  }
  expect([...surprises].slice(0, 20)).toEqual([]);
});
