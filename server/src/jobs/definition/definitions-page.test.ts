// The server accepts every example in docs/definitions.md.
import { readFileSync } from 'node:fs';
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

const page = readFileSync(join(import.meta.dirname, '../../../../docs/definitions.md'), 'utf8');
const blocks = (language: string) =>
  [...page.matchAll(/```(\w+)\n(.*?)```/gs)].flatMap(([, of, text = '']) => (of === language ? [text] : []));

describe('docs/definitions.md', () => {
  test.each(blocks('yaml').map((text, at) => [at + 1, text] as const))(
    'definition %i is valid',
    (_, text) => {
      const read = readYamlValue(text);
      expect(read).toHaveProperty('value');
      if ('value' in read) expect(examineDefinition(read.value).problems).toEqual([]);
    },
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
