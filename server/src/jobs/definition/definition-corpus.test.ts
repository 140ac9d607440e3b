// Wrong definitions, and everything that the server reports about each, and the console, which checks without generated
// code. The files in protocol/src/definition/corpus have both the mistakes and the messages. `-u` rewrites them; read
// the result like the author of such a definition would.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkDefinition, type ErrorDetail } from '@opsconductor/protocol';
import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { readYamlValue } from '../../yaml/read-yaml-value.ts';
import { definitionOf, type Wrong } from './definition-corpus.ts';
import { examineDefinition } from './validate-definition.ts';

const corpus = join(import.meta.dirname, '../../../../protocol/src/definition/corpus');
/** Returns the problems as a route that takes YAML reports them. */
function toldOfYaml(text: string): ErrorDetail[] {
  const read = readYamlValue(text);
  if ('problems' in read) return read.problems;
  return read.places.locate(examineDefinition(read.value).problems);
}

test('problems of a YAML definition are reported with line and column', async () => {
  const file = join(corpus, 'yaml.yaml');
  const cases = parse(readFileSync(file, 'utf8')) as Wrong[];
  const told = cases.map(({ is, text = '' }) => ({ is, text, told: toldOfYaml(text) }));
  for (const { is, told: problems } of told) {
    expect(problems, is).not.toEqual([]);
    for (const problem of problems) expect(problem, is).toHaveProperty('line');
  }
  await expect(stringify(told, { lineWidth: 0 })).toMatchFileSnapshot(file);
});

test('the corpus has at least 250 definitions', () => {
  const files = readdirSync(corpus).map((name) => parse(readFileSync(join(corpus, name), 'utf8')) as Wrong[]);
  expect(files.flat().length).toBeGreaterThanOrEqual(250);
});

describe.each(['job', 'steps', 'parameters', 'placeholders'])('wrong %s', (topic) => {
  const file = join(corpus, `${topic}.yaml`);
  const cases = parse(readFileSync(file, 'utf8')) as Wrong[];

  test('are reported as in the corpus', async () => {
    const told = cases.map((wrong) => {
      const { problems } = examineDefinition(definitionOf(wrong));
      const { told: _, ...rest } = wrong;
      return { ...rest, told: problems };
    });
    for (const { is, told: problems } of told) expect(problems, is).not.toEqual([]);
    await expect(stringify(told, { lineWidth: 0 })).toMatchFileSnapshot(file);
  });

  test('are reported in the same way by the console', () => {
    for (const wrong of cases) {
      expect(checkDefinition(definitionOf(wrong)), wrong.is).toEqual(wrong.told);
    }
  });
});
