// A parameter in words: what it accepts, for a line beside its name.
import type { ValueDefinition } from '@opsconductor/protocol';
import { counted } from '../../format/quantity.ts';

/** `one of a, b`, `integer from 1 to 5`, `list of strings, at most 3 entries`. */
export function parameterWords(value: ValueDefinition): string {
  if (value.enum !== undefined) return `one of ${value.enum.map(plain).join(', ')}`;
  return [typeWord(value), ...bounds(value)].join(', ');
}

/** A value as a definition has it: text as is, anything else as JSON. */
export function plain(value: unknown): string {
  return typeof value === 'string' && value !== '' ? value : JSON.stringify(value);
}

function typeWord(value: ValueDefinition): string {
  if (value.type === 'array') return value.items === undefined ? 'list' : `list of ${value.items.type}s`;
  return value.format ?? value.type;
}

function bounds(value: ValueDefinition): string[] {
  const words: string[] = [];
  const { minimum: min, maximum: max, exclusiveMinimum: above, exclusiveMaximum: below } = value;
  if (min !== undefined && max !== undefined) words.push(`${min} to ${max}`);
  else if (min !== undefined) words.push(`${min} or more`);
  else if (max !== undefined) words.push(`${max} at most`);
  if (above !== undefined) words.push(`above ${above}`);
  if (below !== undefined) words.push(`below ${below}`);
  if (value.multipleOf !== undefined) words.push(`a multiple of ${value.multipleOf}`);
  words.push(...range(value.minLength, value.maxLength, 'character'));
  words.push(...range(value.minItems, value.maxItems, 'entry', 'entries'));
  if (value.pattern !== undefined) words.push(`matching ${value.pattern}`);
  return words;
}

function range(least: number | undefined, most: number | undefined, one: string, many?: string): string[] {
  if (least !== undefined && most !== undefined) {
    return [
      least === most ? `exactly ${counted(most, one, many)}` : `${least} to ${counted(most, one, many)}`,
    ];
  }
  if (least !== undefined) return [`${counted(least, one, many)} at least`];
  return most === undefined ? [] : [`${counted(most, one, many)} at most`];
}
