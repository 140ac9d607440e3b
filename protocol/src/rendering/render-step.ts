// Renders a step with its values: the configuration that an agent runs, and the values that its script refers to.
import type { ErrorDetail } from '../api/errors.ts';
import { limits } from '../limits.ts';
import { type Binding, Bindings } from './bindings.ts';
import { languages } from './languages.ts';
import { type ReadField, type RenderableStep, readStep } from './placeholders/read-step.ts';
import { placeholderText } from './placeholders/reference.ts';
import type { RenderScope } from './placeholders/scope.ts';
import type { Placeholder } from './placeholders/template.ts';
import { givenValue, type RenderValues, textOf, valueProblem } from './placeholders/values.ts';
import { type AnalyzedField, analyzeField } from './sites/analyze-field.ts';
import { rawValueProblem, siteProblem, textValueProblem, wholeTextProblem } from './sites/place-value.ts';

export interface RenderedStep {
  /** With references in scripts, and values in other texts. */
  config: Record<string, unknown>;
  /**
   * What the script refers to: variables in sh and cmd, variables of the session in PowerShell. Never part of its text.
   */
  bindings: Binding[];
  /** Texts of secret values, to be masked in output. */
  masked: string[];
}
/** `missing`: the only problem is that values are missing. */
export type Rendering =
  | { rendered: RenderedStep }
  | { rendered?: undefined; problems: ErrorDetail[]; missing: boolean };

/**
 * Fills in a step. Checks again where each placeholder stands, and what each value is. All problems are reported at
 * once, and no message contains any part of a value.
 */
export function renderStep(step: RenderableStep, scope: RenderScope, values: RenderValues): Rendering {
  // Whether a value exists is decided by the values.
  const { fields, problems } = readStep(step, scope, { mayBeAbsent: true });
  if (problems.length > 0) return { problems, missing: false };
  const read = readValues(fields, values);
  if (read.problems.length > 0) return { problems: read.problems, missing: read.missing };
  const [script] = fields.filter(({ kind }) => kind === 'shell');
  const texts = [...fields.map(({ text }) => text), ...environmentNames(step.config)];
  const bindings = new Bindings(languages[script?.language ?? 'sh'].stem, texts);
  const config = structuredClone(step.config) as Record<string, unknown>;
  for (const field of fields) {
    const text =
      field.kind === 'shell'
        ? renderScript(field, fields, read.values, bindings, problems)
        : renderText(field, read.values, problems);
    setText(config, field.keys, text);
  }
  if (problems.length > 0) return { problems, missing: false };
  return { rendered: { config, bindings: bindings.all(), masked: read.masked } };
}

interface ReadValues {
  values: Map<Placeholder, unknown>;
  problems: ErrorDetail[];
  missing: boolean;
  masked: string[];
}

function readValues(fields: readonly ReadField[], given: RenderValues): ReadValues {
  const values = new Map<Placeholder, unknown>();
  const problems: ErrorDetail[] = [];
  const masked = new Set<string>();
  let missing = true;
  for (const { path, known } of fields) {
    for (const [placeholder, each] of known) {
      const value = givenValue(placeholder.reference, given);
      const problem = valueProblem(value, each);
      if (problem !== undefined) problems.push(valueDetail(path, placeholder, problem));
      if (problem !== undefined && value !== undefined) missing = false;
      values.set(placeholder, value);
      if (each.secret && typeof value === 'string') masked.add(value);
    }
  }
  return { values, problems, missing, masked: [...masked] };
}

function renderScript(
  field: ReadField,
  fields: readonly ReadField[],
  values: ReadonlyMap<Placeholder, unknown>,
  bindings: Bindings,
  problems: ErrorDetail[],
): string {
  const language = languages[field.language ?? 'sh'];
  if (isTooLong(field, values, ({ reference }) => reference.raw, problems)) return '';
  const rawText = (placeholder: Placeholder) => textOf(values.get(placeholder));
  const analyzed: AnalyzedField = analyzeField(field, fields, rawText);
  problems.push(...analyzed.problems);
  let text = '';
  for (const part of field.template.parts) {
    if (part.kind === 'literal') {
      text += part.text;
      continue;
    }
    const known = field.known.get(part);
    const site = analyzed.sites.get(part);
    if (known === undefined) continue;
    const value = values.get(part);
    if (part.reference.raw) {
      const problem = rawValueProblem(known, value);
      if (problem !== undefined) problems.push(valueDetail(field.path, part, problem));
      text += textOf(value);
    } else if (site !== undefined) {
      const problem = siteProblem(part, known, value, site, language);
      if (problem !== undefined) problems.push(valueDetail(field.path, part, problem));
      text += language.reference(bindings.bind(part.reference, known, value).name, site);
    }
  }
  return text;
}

/**
 * Whether the text would be too long with these values, which is told then: one value may stand in thousands of places,
 * and would fill the memory.
 */
function isTooLong(
  { path, template }: ReadField,
  values: ReadonlyMap<Placeholder, unknown>,
  isFilledIn: (placeholder: Placeholder) => boolean,
  problems: ErrorDetail[],
): boolean {
  let length = 0;
  for (const part of template.parts)
    if (part.kind === 'literal') length += part.text.length;
    else if (isFilledIn(part)) length += textOf(values.get(part)).length;
  const most = limits.maxFilledInCharacters;
  if (length <= most) return false;
  problems.push({ path, message: `With these values this is longer than ${most} characters.` });
  return true;
}

function renderText(
  field: ReadField,
  values: ReadonlyMap<Placeholder, unknown>,
  problems: ErrorDetail[],
): string {
  const { parts } = field.template;
  if (isTooLong(field, values, () => true, problems)) return '';
  const text = parts.map((part) => (part.kind === 'literal' ? part.text : textOf(values.get(part)))).join('');
  for (const part of parts) {
    if (part.kind === 'literal') continue;
    const wrong = textValueProblem(field, values.get(part));
    if (wrong !== undefined) problems.push(valueDetail(field.path, part, wrong));
  }
  const problem = wholeTextProblem(field, text);
  const placeholder = parts.find((part) => part.kind === 'placeholder');
  if (problem !== undefined && placeholder !== undefined) {
    problems.push({
      path: field.path,
      message: `With the value of ${placeholderText(placeholder.reference)} this ${problem}.`,
    });
  }
  return text;
}

function valueDetail(path: string, { reference }: Placeholder, problem: string): ErrorDetail {
  return { path, message: `${placeholderText(reference)} ${problem}.` };
}

function environmentNames(config: unknown): string[] {
  const { environment } = Object(config) as { environment?: unknown };
  return Object.keys(Object(environment));
}

function setText(config: Record<string, unknown>, keys: readonly string[], text: string): void {
  let place = config;
  for (const key of keys.slice(0, -1)) place = place[key] as Record<string, unknown>;
  place[keys.at(-1) as string] = text;
}
