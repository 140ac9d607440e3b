import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { JobDefinitionSchema } from './api/jobs/jobs.ts';
import { checkBySchema } from './schema-check.ts';
import { SshExecConfigSchema } from './steps/ssh-exec.ts';
import { WinrmExecConfigSchema } from './steps/winrm-exec.ts';
import { errorDetails, validatorOptions } from './validation.ts';

const ajv = new Ajv2020({ ...validatorOptions, allErrors: true, useDefaults: false });
const schemas = { JobDefinitionSchema, SshExecConfigSchema, WinrmExecConfigSchema };
const compiled = new Map(Object.values(schemas).map((schema) => [schema, ajv.compile(schema)]));

/** What the server reports. */
function byAjv(schema: (typeof schemas)[keyof typeof schemas], value: unknown) {
  const check = compiled.get(schema);
  check?.(value);
  return errorDetails(check?.errors);
}
const sorted = (details: readonly { path: string; message: string }[]) =>
  details.toSorted((a, b) => (a.path + a.message < b.path + b.message ? -1 : 1));

const good = {
  name: 'Patch',
  strategy: { max_parallel: 8, batches: [1, '10%'] },
  locks: [{ name: 'db', mode: 'exclusive' }],
  parameters: { ticket: { type: 'string', pattern: '^CHG' } },
  steps: [
    {
      name: 'one',
      type: 'ssh.exec',
      config: { command: 'true', environment: { A: 'b' } },
      retry: { attempts: 3 },
    },
    {
      name: 'two',
      type: 'winrm.exec',
      outputs: { v: { json: '/a' } },
      connection: { username: 'x' },
      config: {},
    },
  ],
};

test('a valid definition has no errors', () => {
  expect(checkBySchema(JobDefinitionSchema, good)).toEqual([]);
});

describe('tells what the server tells', () => {
  test('about each place where a definition is made wrong', () => {
    const wrong = fc.oneof(
      fc.constantFrom(
        null,
        true,
        '',
        ' x',
        'x\u200b',
        0,
        -1,
        1.5,
        1e9,
        [],
        {},
        [1, 1],
        { a: 1 },
        '200%',
        '5%',
      ),
      fc.string(),
      fc.integer(),
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(), wrong, fc.constantFrom('set', 'add', 'remove')), { maxLength: 4 }),
        (changes) => {
          const value = structuredClone(good);
          for (const [at, next, how] of changes) change(value, at, structuredClone(next), how);
          expect(sorted(checkBySchema(JobDefinitionSchema, value))).toEqual(
            sorted(byAjv(JobDefinitionSchema, value)),
          );
        },
      ),
      { numRuns: 400 },
    );
  });

  test.each([
    {},
    { command: '' },
    { command: 'a\0b', timeout: 0, environment: { 'a-b': 'x', c: 1 }, expected_exit_codes: [] },
    { command: 'x', expected_exit_codes: [1, 2, 1], kill_grace: 1.5, limits: {}, nope: 1 },
    { comand: 'x', limits: { nice: 20, cpu: 1 }, on_output_limit: 'cut', working_directory: 'tmp' },
    [],
    null,
  ])('of the configuration %j', (config) => {
    for (const schema of [SshExecConfigSchema, WinrmExecConfigSchema])
      expect(sorted(checkBySchema(schema, config))).toEqual(sorted(byAjv(schema, config)));
  });
});

test('paths of names that need quoting, and patterns of another engine', () => {
  const schema = {
    type: 'object',
    additionalProperties: { $ref: '#/$defs/word' },
    $defs: { word: { type: 'string', pattern: 'x+' } },
  };
  const asked: string[] = [];
  const details = checkBySchema(
    schema,
    { 'a b': 'no', c: 'x' },
    {
      root: 'parameters',
      matches: (pattern, text) => {
        asked.push(pattern);
        return text === 'x';
      },
    },
  );
  expect(details.map(({ path }) => path)).toEqual(['parameters["a b"]']);
  expect(asked).toEqual(['x+', 'x+']);
});

function change(root: unknown, at: number, next: unknown, how: string) {
  const places: [Record<string, unknown>, string][] = [];
  const visit = (value: unknown) => {
    if (typeof value !== 'object' || value === null) return;
    for (const key of Object.keys(value)) {
      places.push([value as Record<string, unknown>, key]);
      visit((value as Record<string, unknown>)[key]);
    }
  };
  visit(root);
  const [parent, key] = places[at % Math.max(1, places.length)] ?? [];
  if (parent === undefined || key === undefined) return;
  if (how === 'add' && !Array.isArray(parent)) parent[`${key}x`] = next;
  else if (how === 'remove' && !Array.isArray(parent)) delete parent[key];
  else parent[key] = next;
}
