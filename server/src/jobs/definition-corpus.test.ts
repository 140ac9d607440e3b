// Wrong definitions, and all that is told of each: by the server, and by the console, which checks without generated
// code. The files in protocol/src/definition/corpus have both what is wrong and what is told; `-u` writes them anew, to be
// read as whoever wrote such a definition would.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkDefinition, type ErrorDetail } from '@opsconductor/protocol';
import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { readYamlValue } from '../yaml/read-yaml-value.ts';
import { examineDefinition } from './validate-definition.ts';

type Json = Record<string, unknown>;

interface Wrong {
  /** What is wrong, in words. */
  is: string;
  /** Fields in place of those of a right job, of its first step, and of that one's configuration. */
  given?: Json;
  step?: Json;
  config?: Json;
  /** Paths of what is left out: `steps.0.config.command`. */
  absent?: string[];
  /** The definition itself, as a value or as JSON; or one that is too large to be written here. */
  whole?: unknown;
  json?: string;
  make?: string;
  /** The definition as YAML. */
  text?: string;
  told?: ErrorDetail[];
}

const corpus = join(import.meta.dirname, '../../../protocol/src/definition/corpus');
const many = <T>(count: number, make: (at: number) => T) =>
  Array.from({ length: count }, (_, at) => make(at));
const named = (count: number, value: unknown) => Object.fromEntries(many(count, (at) => [`n${at}`, value]));
const step = (name: string, more: Json = {}, config: Json = {}) => ({
  name,
  type: 'ssh.exec',
  ...more,
  config: { command: 'uptime', ...config },
});
const nested = (depth: number): Json =>
  depth === 0 ? { type: 'string' } : { type: 'array', items: nested(depth - 1) };

const large: Record<string, () => Json> = {
  'long name': () => ({ name: 'n'.repeat(101) }),
  'long description': () => ({ description: 'd'.repeat(10_001) }),
  'many labels': () => ({ labels: named(65, '') }),
  'many steps': () => ({ steps: many(101, (at) => step(`step ${at}`)) }),
  'long command': () => ({ steps: [step('ask', {}, { command: 'x'.repeat(131_073) })] }),
  'deep condition': () => ({ steps: [step('ask', { when: `${'('.repeat(200)}true${')'.repeat(200)}` })] }),
  'long condition': () => ({ steps: [step('ask', { when: `true${' '.repeat(2_000)}` })] }),
  'long parameter name': () => ({ parameters: { ['p'.repeat(65)]: { type: 'string' } } }),
  'huge enum': () => ({ parameters: { a: { type: 'integer', enum: many(1_001, (at) => at) } } }),
  'deep parameter': () => ({ parameters: { l: nested(5) } }),
  'many parameters': () => ({ parameters: named(101, { type: 'string' }) }),
  'long message': () => ({ rules: [{ check: 'true', message: 'm'.repeat(501) }] }),
};

function definitionOf(wrong: Wrong): unknown {
  if ('whole' in wrong) return wrong.whole;
  if (wrong.json !== undefined) return JSON.parse(wrong.json);
  const made = wrong.make === undefined ? {} : large[wrong.make]?.();
  const { config, ...ofStep } = wrong.step ?? {};
  const first =
    'config' in (wrong.step ?? {}) ? { ...step('ask', ofStep), config } : step('ask', ofStep, wrong.config);
  const definition = { name: 'job', steps: [first], ...wrong.given, ...made };
  for (const path of wrong.absent ?? []) {
    const keys = path.split('.');
    const last = keys.pop() ?? '';
    delete keys.reduce<Json>((inner, key) => Object(inner[key]) as Json, definition)[last];
  }
  return definition;
}

/** As a route that takes YAML tells it. */
function toldOfYaml(text: string): ErrorDetail[] {
  const read = readYamlValue(text);
  if ('problems' in read) return read.problems;
  return read.places.locate(examineDefinition(read.value).problems);
}

test('a wrong definition in YAML is told of with line and column', async () => {
  const file = join(corpus, 'yaml.yaml');
  const cases = parse(readFileSync(file, 'utf8')) as Wrong[];
  const told = cases.map(({ is, text = '' }) => ({ is, text, told: toldOfYaml(text) }));
  for (const { is, told: problems } of told) {
    expect(problems, is).not.toEqual([]);
    for (const problem of problems) expect(problem, is).toHaveProperty('line');
  }
  await expect(stringify(told, { lineWidth: 0 })).toMatchFileSnapshot(file);
});

test('the corpus has 250 definitions and more', () => {
  const files = readdirSync(corpus).map((name) => parse(readFileSync(join(corpus, name), 'utf8')) as Wrong[]);
  expect(files.flat().length).toBeGreaterThanOrEqual(250);
});

describe.each(['job', 'steps', 'parameters', 'placeholders'])('wrong %s', (topic) => {
  const file = join(corpus, `${topic}.yaml`);
  const cases = parse(readFileSync(file, 'utf8')) as Wrong[];

  test('are told of as it stands in the corpus', async () => {
    const told = cases.map((wrong) => {
      const { problems } = examineDefinition(definitionOf(wrong));
      const { told: _, ...rest } = wrong;
      return { ...rest, told: problems };
    });
    for (const { is, told: problems } of told) expect(problems, is).not.toEqual([]);
    await expect(stringify(told, { lineWidth: 0 })).toMatchFileSnapshot(file);
  });

  test('are told of alike by the console', () => {
    for (const wrong of cases) {
      expect(checkDefinition(definitionOf(wrong)), wrong.is).toEqual(wrong.told);
    }
  });
});
