// Renders a step for a person to read before it runs: with values in the text, and secrets masked.
import type { ErrorDetail } from '../api/errors.ts';
import { limits } from '../limits.ts';
import { languages } from './languages.ts';
import { type ReadField, type RenderableStep, readStep } from './placeholders/read-step.ts';
import { placeholderText } from './placeholders/reference.ts';
import type { Known, RenderScope } from './placeholders/scope.ts';
import type { Placeholder } from './placeholders/template.ts';
import { givenValue, type RenderValues, textOf, valueProblem } from './placeholders/values.ts';
import { analyzeField } from './sites/analyze-field.ts';
import { rawValueProblem, siteProblem, textValueProblem, wholeTextProblem } from './sites/place-value.ts';

/** Stands for a secret value. */
export const maskedText = '********';

export interface PreviewedField {
  /** `steps[2].config.command` */
  path: string;
  /** The same place, as keys from the configuration on. */
  keys: readonly string[];
  text: string;
}
export interface PreviewedValue {
  /** `${{ parameters.x }}` */
  placeholder: string;
  /** Masked if it is secret; missing if nothing is known of it yet. */
  text?: string;
  secret: boolean;
}
export interface Preview {
  /** Texts with placeholders, rendered. */
  fields: PreviewedField[];
  /** Each placeholder once, in the order of the texts. */
  values: PreviewedValue[];
  problems: ErrorDetail[];
}

/** How many more characters of values may be shown: one value may stand in thousands of places. */
export interface PreviewRoom {
  left: number;
}

/** Returns the room that the steps of a definition share. */
export function newPreviewRoom(): PreviewRoom {
  return { left: limits.maxFilledInCharacters };
}

/**
 * Renders a step for a person. Placeholders for whose values there is no room stay as they are. Values of secrets may be missing. Anything without a value keeps its placeholder; that
 * isn't a problem for outputs of steps, which are known only after those have run.
 */
export function renderForPeople(
  step: RenderableStep,
  scope: RenderScope,
  values: RenderValues,
  room: PreviewRoom = newPreviewRoom(),
): Preview {
  const { fields, problems } = readStep(step, scope, { mayBeAbsent: true });
  const shown = new Map<string, PreviewedValue>();
  const previewed: PreviewedField[] = [];
  for (const field of fields) {
    if (field.template.parts.every((part) => part.kind === 'literal')) continue;
    for (const [placeholder, known] of field.known) {
      const value = previewOf(placeholder, known, values);
      shown.set(value.placeholder, value);
    }
    previewed.push({
      path: field.path,
      keys: field.keys,
      text: textFor(field, fields, { values, room }, problems),
    });
  }
  return { fields: previewed, values: [...shown.values()], problems };
}

function previewOf({ reference }: Placeholder, known: Known, values: RenderValues): PreviewedValue {
  const placeholder = placeholderText(reference);
  if (known.secret) return { placeholder, text: maskedText, secret: true };
  const value = givenValue(reference, values);
  return { placeholder, ...(value === undefined ? {} : { text: textOf(value) }), secret: false };
}

function textFor(
  field: ReadField,
  fields: readonly ReadField[],
  { values, room }: { values: RenderValues; room: PreviewRoom },
  problems: ErrorDetail[],
): string {
  const language = languages[field.language ?? 'sh'];
  let rawLeft = room.left;
  const rawText = ({ reference }: Placeholder) => {
    const text = textOf(givenValue(reference, values) ?? 'x');
    rawLeft -= text.length;
    return rawLeft < 0 ? 'x' : text;
  };
  const { sites, problems: misplaced } = analyzeField(field, fields, rawText);
  problems.push(...misplaced);
  let isWhole = true;
  const texts = field.template.parts.map((part) => {
    if (part.kind === 'literal') return part.text;
    const known = field.known.get(part);
    if (known?.secret) {
      isWhole = false;
      return maskedText;
    }
    const value = givenValue(part.reference, values);
    if (known === undefined || value === undefined) {
      isWhole = false;
      const isLater = part.reference.source === 'steps';
      if (known !== undefined && !isLater) problems.push(detail(field, part, 'has no value'));
      return part.text;
    }
    if (textOf(value).length > room.left) {
      isWhole = false;
      return part.text;
    }
    const site = sites.get(part);
    const problem =
      valueProblem(value, known) ??
      (part.reference.raw ? rawValueProblem(known, value) : undefined) ??
      textValueProblem(field, value) ??
      (site === undefined ? undefined : siteProblem(part, known, value, site, language));
    if (problem !== undefined) problems.push(detail(field, part, problem));
    const shown = site === undefined ? textOf(value) : language.readable(value, site);
    room.left -= shown.length;
    return shown;
  });
  const text = texts.join('');
  const whole = isWhole && field.kind === 'text' ? wholeTextProblem(field, text) : undefined;
  if (whole !== undefined) problems.push({ path: field.path, message: `With these values this ${whole}.` });
  return text;
}

function detail({ path }: ReadField, { reference }: Placeholder, problem: string): ErrorDetail {
  return { path, message: `${placeholderText(reference)} ${problem}.` };
}
