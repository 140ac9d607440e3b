// Renders a JSON Schema as nested lists for people to read.
import { describeSchema } from '@opsconductor/protocol';
import type { Json } from '../../json-schema.ts';
import { escapeHtml, inlineCode } from './html.ts';

type Schema = Record<string, Json | undefined>;

export function renderSchema(schema: Json): string {
  const one = (typeof schema === 'object' && !Array.isArray(schema) ? schema : {}) as Schema;
  const branches = (Array.isArray(one.anyOf) ? one.anyOf : []) as Schema[];
  const complex = branches.filter((branch) => branch.properties !== undefined || branch.items !== undefined);
  if (complex.length > 0) {
    const items = branches.map((branch) => `<li>${renderSchema(branch)}</li>`);
    return `<span class="type">one of</span><ul>${items.join('')}</ul>`;
  }
  if (one.properties !== undefined) return renderObject(one);
  if (one.type === 'array' && one.items !== undefined && one.items !== true) {
    return `<span class="type">array of</span> ${renderSchema(one.items)}`;
  }
  return `<span class="type">${inlineCode(describeSchema(one) ?? 'anything')}</span>${renderDefault(one)}`;
}

function renderObject(schema: Schema): string {
  const required = (schema.required ?? []) as string[];
  const rows = Object.entries(schema.properties as Schema).map(([name, property]) => {
    const optional = required.includes(name) ? '' : ' <span class="optional">optional</span>';
    return `<li><code>${escapeHtml(name)}</code>${optional} ${renderSchema(property ?? {})}</li>`;
  });
  return `<ul class="object">${rows.join('')}</ul>`;
}

function renderDefault(schema: Schema): string {
  return schema.default === undefined
    ? ''
    : `, default <code>${escapeHtml(JSON.stringify(schema.default))}</code>`;
}
