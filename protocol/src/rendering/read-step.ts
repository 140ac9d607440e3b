// A step with every placeholder found and looked up: what saving checks and what rendering fills in.
import type { ErrorDetail } from '../api/common.ts';
import { fieldPath, type TextField, textFieldsOf } from './fields.ts';
import { rawProblem } from './raw-splice.ts';
import { placeholderText } from './reference.ts';
import { absenceProblem, article, type Known, lookUp, type RenderScope } from './scope.ts';
import {
  excerptAt,
  type Placeholder,
  parseTemplate,
  placeholdersOf,
  placeIn,
  type Template,
} from './template.ts';

/** What of a step is rendered. */
export interface RenderableStep {
  type: string;
  when?: string;
  config: unknown;
}

export interface ReadField extends TextField {
  path: string;
  template: Template;
  /** Of each placeholder of the template that can be looked up. */
  known: Map<Placeholder, Known>;
}
export interface ReadStep {
  fields: ReadField[];
  problems: ErrorDetail[];
}

/** Reads the texts of a step. Problems are those that don't depend on where a placeholder stands. */
export function readStep(
  step: RenderableStep,
  scope: RenderScope,
  options: { mayBeAbsent?: boolean } = {},
): ReadStep {
  const problems: ErrorDetail[] = [];
  const fields: ReadField[] = [];
  for (const field of textFieldsOf(step.type, step.config)) {
    const path = fieldPath(scope.path, field.keys);
    if (field.keys.some((key) => key.includes('${{'))) {
      problems.push({
        path,
        message: 'A name takes no placeholder: write the name itself, and the value behind it.',
      });
      continue;
    }
    // A script is also looked at for what it does with its environment.
    if (!field.text.includes('${{') && field.kind !== 'shell') continue;
    const template = parseTemplate(field.text);
    const known = new Map<Placeholder, Known>();
    for (const { at, message, fix } of template.problems)
      problems.push(problemAt(path, field.text, at, message, fix));
    for (const placeholder of placeholdersOf(template)) {
      const found = lookUpPlaceholder(placeholder, field, scope, step, options.mayBeAbsent === true);
      if ('problem' in found)
        problems.push(problemAt(path, field.text, placeholder.at, found.problem, found.fix));
      else known.set(placeholder, found);
    }
    fields.push({ ...field, path, template, known });
  }
  return { fields, problems };
}

function lookUpPlaceholder(
  { reference }: Placeholder,
  field: TextField,
  scope: RenderScope,
  { when }: RenderableStep,
  mayBeAbsent: boolean,
): Known | { problem: string; fix: string } {
  const label = placeholderText(reference);
  if (field.kind === 'none') {
    return {
      problem: 'This field takes no placeholder',
      fix: 'Write its value itself; placeholders go into command, working_directory and the values of environment.',
    };
  }
  const known = lookUp(reference, scope);
  if ('problem' in known) return known;
  const absent = mayBeAbsent ? undefined : absenceProblem(reference, known, when);
  if (absent !== undefined) return absent;
  if (reference.raw) {
    const problem = rawProblem(reference, known, field);
    if (problem !== undefined) return problem;
  }
  if (
    field.kind === 'text' &&
    (known.type === 'array' || known.type === 'object') &&
    field.takesJson !== true
  ) {
    return {
      problem: `${label} is ${article(known.type)}, which this field has no form for`,
      fix: 'Refer to one of its items.',
    };
  }
  return known;
}

/** A problem at a place of a text, for a person. */
export function problemAt(path: string, text: string, at: number, message: string, fix: string): ErrorDetail {
  return { path, message: `${placeIn(text, at)}: ${message}. ${fix}`, found: excerptAt(text, at) };
}
