// Completion while typing: keys and choices from the schema with their meaning, and the names that a placeholder may
// use.
import type { Completion, CompletionContext, CompletionResult } from '@codemirror/autocomplete';
import type { Parameters } from '@opsconductor/protocol';
import type { FieldSchema } from '../fields/field-kinds.ts';
import { placeAt, schemaAt } from './schema-at.ts';

export interface CompletionScope {
  parameters(): Parameters;
  /** Outputs of steps, each as `name.outputs.value`. */
  outputs(): string[];
  /** Type of the step at an offset. */
  stepTypeAt(offset: number): string | undefined;
}

export function completions(scope: CompletionScope) {
  return (context: CompletionContext): CompletionResult | null =>
    placeholders(context, scope) ?? keysAndValues(context, scope);
}

function placeholders(context: CompletionContext, scope: CompletionScope): CompletionResult | null {
  const before = context.matchBefore(/\$\{\{ *(?:raw\()?[\w.]*/);
  if (before === null) return null;
  const typed = /[\w.]*$/.exec(before.text)?.[0] ?? '';
  const line = context.state.doc.lineAt(context.pos);
  const rest = line.text.slice(context.pos - line.from);
  const close = /^[\w.]* *\}\}/.test(rest) ? '' : ' }}';
  const lead = /\{\{$/.test(before.text.slice(0, before.text.length - typed.length)) ? ' ' : '';
  const offer = (label: string, detail: string, info?: string): Completion => ({
    label,
    detail,
    apply: `${lead}${label}${close}`,
    type: 'variable',
    ...(info === undefined || info === '' ? {} : { info }),
  });
  const options = [
    ...Object.entries(scope.parameters()).map(([name, one]) =>
      offer(
        `parameters.${name}`,
        one?.secret === true ? 'secret' : String(one?.type ?? ''),
        one?.description,
      ),
    ),
    ...scope.outputs().map((name) => offer(`steps.${name}`, 'output')),
    ...['name', 'host', 'port', 'os', 'segment', 'labels.'].map((name) => offer(`target.${name}`, 'host')),
    ...['id', 'created_at', 'created_by'].map((name) => offer(`run.${name}`, 'run')),
    ...['id', 'name', 'version'].map((name) => offer(`job.${name}`, 'job')),
  ];
  return { from: context.pos - typed.length, options, validFor: /^[\w.]*$/ };
}

function keysAndValues(context: CompletionContext, scope: CompletionScope): CompletionResult | null {
  const place = placeAt(context.state.doc.toString(), context.pos);
  if (place === undefined) return null;
  if (place.typed === '' && place.key === undefined && !context.explicit) return null;
  const stepType = place.stepType ?? scope.stepTypeAt(context.pos);
  const path = place.key === undefined ? place.path : [...place.path, place.key];
  const schema = schemaAt(path, stepType);
  if (schema === undefined) return null;
  const options =
    place.key === undefined ? keyOptions(schema, place.siblings) : valueOptions(schema, place.typed);
  return options.length === 0 ? null : { from: place.from, options, validFor: /^[\w.-]*$/ };
}

function keyOptions(schema: FieldSchema, siblings: readonly string[]): Completion[] {
  return Object.entries(schema.properties ?? {})
    .filter(([name]) => !siblings.includes(name))
    .map(([name, field], at) => {
      const required = schema.required?.includes(name) === true;
      return {
        label: name,
        apply:
          field.type === 'object' || (field.type === 'array' && field.items?.type === 'object')
            ? `${name}:`
            : `${name}: `,
        type: 'property',
        detail: required ? 'required' : defaultWords(field),
        // Required keys first, otherwise in the order of the schema, which is the reading order.
        boost: (required ? 50 : 0) - Math.min(at, 40),
        ...(field.description === undefined ? {} : { info: field.description }),
      };
    });
}

function defaultWords({ default: given, type }: FieldSchema): string {
  return given === undefined ? (type ?? '') : `default ${JSON.stringify(given)}`;
}

function valueOptions(schema: FieldSchema, typed: string): Completion[] {
  const values = schema.enum ?? (schema.type === 'boolean' ? [true, false] : []);
  return values
    .filter((value) => String(value) !== typed)
    .map((value) => ({
      label: String(value),
      type: 'constant',
      ...(value === schema.default ? { detail: 'default' } : {}),
    }));
}
