// What a site rule can refer to: the definition itself, with the names from its schema.
import { JobDefinitionSchema, StepDefinitionSchema } from '../api/jobs/jobs.ts';
import type { SiteRuleSubject } from '../api/jobs/site-rules.ts';
import type { Member } from './scope.ts';

interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  required?: readonly string[];
  default?: unknown;
}

const words: Record<string, string> = {
  string: 'text',
  integer: 'an integer',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
};

/** Returns what a site rule can refer to: the job and the note of its version, and for a rule per step that step. */
export function definitionMembers(per: SiteRuleSubject): Record<string, Member> {
  return {
    job: memberOf(JobDefinitionSchema as unknown as Schema),
    note: { type: 'text', members: {} },
    ...(per === 'step' ? { step: memberOf(StepDefinitionSchema as unknown as Schema) } : {}),
  };
}

function memberOf(schema: Schema): Member {
  const { type = '', properties, required = [] } = schema;
  const inside = Object.entries(properties ?? {}).map(([name, property]): [string, Member] => {
    // A default is filled in wherever the object that it belongs to exists.
    const mayBeAbsent = !required.includes(name) && property.default === undefined && !always.has(name);
    return [name, { ...memberOf(property), mayBeAbsent }];
  });
  const members = properties === undefined ? undefined : Object.fromEntries(inside);
  const isLeaf = ['string', 'integer', 'number', 'boolean'].includes(type);
  return { type: words[type] ?? 'anything', members: members ?? (isLeaf ? {} : undefined) };
}

/** A job always has a category, and site rules always see its labels, even if there are none. */
const always = new Set(['category', 'labels']);
