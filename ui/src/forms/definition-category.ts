// The category of a job as it stands in the text of its definition.
import { generalCategory } from '@opsconductor/protocol';
import { type JsonText, readJson } from './json-places.ts';

/** Of a definition that names none it is the general one. */
export function categoryOf(json: JsonText): string {
  const { category } = Object(json.value) as { category?: unknown };
  return typeof category === 'string' ? category : generalCategory.name;
}

/**
 * The text with another category, all else as it was written.
 *
 * @throws {JsonError} for a text that is no JSON.
 */
export function withCategory(text: string, category: string): string {
  const { value, places } = readJson(text);
  const written = JSON.stringify(category);
  const present = places.get('category');
  if (present !== undefined) return text.slice(0, present.from) + written + text.slice(present.to);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return text;
  const after = places.get('description') ?? places.get('name');
  if (after !== undefined) {
    return `${text.slice(0, after.to)},${lineStart(text, after.from)}"category": ${written}${text.slice(after.to)}`;
  }
  const open = text.indexOf('{') + 1;
  const isEmpty = Object.keys(value).length === 0;
  return `${text.slice(0, open)} "category": ${written}${isEmpty ? ' ' : ','}${text.slice(open)}`;
}

/** The line break and indent of the line that an offset is in; a space where there is no other line. */
function lineStart(text: string, offset: number): string {
  const begin = text.lastIndexOf('\n', offset);
  return begin === -1 ? ' ' : `\n${/^[ \t]*/.exec(text.slice(begin + 1))?.[0] ?? ''}`;
}
