// Finds and looks up every placeholder of a step, for checking when saving and for rendering.
import type { ErrorDetail } from '../../api/errors.ts';
import { fieldPath, placeholderFields, type TextField, textFieldsOf } from './fields.ts';
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
  type TemplateProblem,
} from './template.ts';

/** The parts of a step that are rendered. */
export interface RenderableStep {
  type: string;
  when?: string;
  config: unknown;
}

export interface ReadField extends TextField {
  path: string;
  template: Template;
  /** For each placeholder of the template that can be looked up. */
  known: Map<Placeholder, Known>;
}
export interface ReadStep {
  fields: ReadField[];
  problems: ErrorDetail[];
}

/** Reads the texts of a step. Returns only problems that don't depend on where a placeholder stands. */
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
    // A command is also checked for what it does with its environment and its input.
    const isCommand = field.kind === 'shell' || field.interpreter !== undefined;
    if (!field.text.includes('${{') && !isCommand) continue;
    const template = parseTemplate(field.text);
    const known = new Map<Placeholder, Known>();
    const found = [...template.problems];
    for (const placeholder of placeholdersOf(template)) {
      const each = lookUpPlaceholder(placeholder, field, scope, step, options.mayBeAbsent === true);
      if ('problem' in each) found.push({ at: placeholder.at, message: each.problem, fix: each.fix });
      else known.set(placeholder, each);
    }
    problems.push(...problemsIn(path, field.text, found));
    fields.push({ ...field, path, template, known });
  }
  return { fields, problems };
}

function lookUpPlaceholder(
  { reference }: Placeholder,
  field: TextField,
  scope: RenderScope,
  { type, when }: RenderableStep,
  mayBeAbsent: boolean,
): Known | { problem: string; fix: string } {
  const label = placeholderText(reference);
  if (field.kind === 'none') {
    return {
      problem:
        field.instead === undefined
          ? 'This field takes no placeholder'
          : 'A value in a program would run as a part of it',
      fix: field.instead ?? `Write its value itself; placeholders go into ${placeholderFields(type)}.`,
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

/** Number of problems of one text that are listed: nobody reads more, and each means looking at the whole text. */
const maxProblemsOfText = 50;

/** Turns problems at places of a text into details for a person. */
export function problemsIn(path: string, text: string, problems: readonly TemplateProblem[]): ErrorDetail[] {
  const told = problems.slice(0, maxProblemsOfText).map(({ at, message, fix }) => ({
    path,
    message: `${placeIn(text, at)}: ${message}. ${fix}`,
    found: excerptAt(text, at),
  }));
  const more = problems.length - told.length;
  return more === 0
    ? told
    : [...told, { path, message: `There are ${more} more problems of this kind here.` }];
}
