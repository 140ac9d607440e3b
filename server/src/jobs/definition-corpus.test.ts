// Wrong definitions, and all that is told of each: by the server, and by the console, which checks without generated
// code. The files in protocol/src/definition/corpus have both what is wrong and what is told; `-u` writes them anew, to be
// read as whoever wrote such a definition would.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkDefinition, type ErrorDetail } from '@opsconductor/protocol';
import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { readYamlValue } from '../yaml/read-yaml-value.ts';
import { definitionOf, type Wrong } from './definition-corpus.ts';
import { examineDefinition } from './validate-definition.ts';

const corpus = join(import.meta.dirname, '../../../protocol/src/definition/corpus');
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
