import { textFieldsOf } from './fields.ts';
import type { RenderableStep } from './read-step.ts';
import type { Reference } from './reference.ts';
import { parseTemplate, placeholdersOf } from './template.ts';

/** Returns everything that the texts of a step refer to, whose values a lease must contain. */
export function referencesOf(step: RenderableStep): Reference[] {
  return textFieldsOf(step.type, step.config).flatMap(({ text }) =>
    text.includes('${{') ? placeholdersOf(parseTemplate(text)).map(({ reference }) => reference) : [],
  );
}
