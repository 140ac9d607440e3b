// Writes a definition as new text: keys in reading order, commands as blocks.
import {
  configKeys,
  definitionKeys,
  type JobDefinition,
  parameterKeys,
  stepKeys,
} from '@opsconductor/protocol';
import { writtenAfterKey, writtenItem, writtenKey } from './write-value.ts';

/** Order of the keys of a map, for where to insert a new one. */
export function orderOf(path: readonly (string | number)[]): readonly string[] {
  const [first, , third] = path;
  if (path.length === 0) return definitionKeys;
  if (first === 'steps')
    return path.length === 2 ? stepKeys : third === 'config' && path.length === 3 ? configKeys : [];
  return first === 'parameters' && path.length > 1 ? parameterKeys : [];
}

export function writeDefinition(definition: JobDefinition): string {
  const manner = { flow: false, json: false, indent: 0 };
  const lines = sorted(definition, definitionKeys).map(([key, value]) => {
    const written = key === 'parameters' ? inFormOrder(Object(value)) : value;
    if (key !== 'steps' || !Array.isArray(written))
      return `${writtenKey(key, manner)}:${writtenAfterKey(written, manner)}`;
    const steps = written.map((step) =>
      writtenItem(Object.fromEntries(sorted(inner(step as object), stepKeys)), { ...manner, indent: 2 }),
    );
    return `steps:\n${steps.join('\n')}`;
  });
  return `${lines.join('\n')}\n`;
}

function inner(step: object): object {
  const { config } = step as { config?: unknown };
  return typeof config === 'object' && config !== null
    ? { ...step, config: Object.fromEntries(sorted(config, configKeys)) }
    : step;
}

/** Parameters in the order of their form: by `order`, then as written. The keys of each one are in reading order. */
function inFormOrder(parameters: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(parametersInOrder(parameters).map(([name, one]) => [name, inReadingOrder(one)]));
}

/** Parameters as forms show them: by `order`, then as written. */
export function parametersInOrder(parameters: Record<string, unknown>): [string, unknown][] {
  const placeOf = (one: unknown) => {
    const { order } = Object(one) as { order?: unknown };
    return typeof order === 'number' ? order : Number.MAX_SAFE_INTEGER;
  };
  return Object.entries(parameters).toSorted(([, a], [, b]) => placeOf(a) - placeOf(b));
}

function inReadingOrder(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const { items, properties } = value as { items?: unknown; properties?: unknown };
  const ordered = Object.fromEntries(sorted(value, parameterKeys));
  if (items !== undefined) ordered.items = inReadingOrder(items);
  if (typeof properties === 'object' && properties !== null)
    ordered.properties = Object.fromEntries(
      Object.entries(properties).map(([name, one]) => [name, inReadingOrder(one)]),
    );
  return ordered;
}

function sorted(value: object, order: readonly string[]): [string, unknown][] {
  const rank = (name: string) => (order.indexOf(name) === -1 ? order.length : order.indexOf(name));
  return Object.entries(value)
    .filter(([, one]) => one !== undefined)
    .toSorted(([a], [b]) => rank(a) - rank(b));
}
