// The server accepts every example in docs/definitions.md, and every whole definition on the other pages.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CreateSiteRuleRequestSchema,
  checkBySchema,
  siteRuleProblems,
  siteRuleText,
} from '@opsconductor/protocol';
import { describe, expect, test } from 'vitest';
import { readYamlValue } from '../../yaml/read-yaml-value.ts';
import { examineDefinition } from './validate-definition.ts';

const docs = join(import.meta.dirname, '../../../../docs');
const page = readFileSync(join(docs, 'definitions.md'), 'utf8');
const blocks = (language: string, of = page) =>
  [...of.matchAll(/```(\w+)\n(.*?)```/gs)].flatMap(([, one, text = '']) => (one === language ? [text] : []));

const elsewhere = readdirSync(docs)
  .filter((name) => name.endsWith('.md') && name !== 'definitions.md')
  .flatMap((name) => {
    const whole = blocks('yaml', readFileSync(join(docs, name), 'utf8')).filter((text) =>
      /^name: /.test(text),
    );
    return whole.map((text) => [name, text] as const);
  });

function accepts(text: string): void {
  const read = readYamlValue(text);
  expect(read).toHaveProperty('value');
  if ('value' in read) expect(examineDefinition(read.value).problems).toEqual([]);
}

describe('docs/definitions.md', () => {
  test.each(blocks('yaml').map((text, at) => [at + 1, text] as const))('definition %i is valid', (_, text) =>
    accepts(text),
  );

  test('has definitions, and a valid site rule', () => {
    expect(blocks('yaml').length).toBeGreaterThanOrEqual(5);
    const rules = blocks('json').map((text) => JSON.parse(text));
    expect(rules).toHaveLength(1);
    for (const rule of rules) {
      expect(checkBySchema(CreateSiteRuleRequestSchema, rule)).toEqual([]);
      expect(siteRuleProblems(siteRuleText(rule))).toEqual([]);
    }
  });
});

test.each(elsewhere)('a whole definition in %s is valid', (_, text) => accepts(text));

test('other pages have whole definitions', () => {
  expect(elsewhere.map(([name]) => name)).toContain('windows.md');
});
