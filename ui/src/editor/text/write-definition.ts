// A definition as text, where there is none yet: keys in the order that people read them in, commands as blocks.
import type { JobDefinition } from '@opsconductor/protocol';
import { writtenAfterKey, writtenItem, writtenKey } from './write-value.ts';

export const definitionKeys = [
  'name',
  'description',
  'category',
  'labels',
  'template',
  'parameters',
  'rules',
  'start_within',
  'timeout',
  'priority',
  'strategy',
  'locks',
  'connection',
  'steps',
];
export const stepKeys = [
  'name',
  'id',
  'type',
  'when',
  'when_status',
  'on_unknown',
  'hold_for',
  'idempotent',
  'retry',
  'connection',
  'config',
  'outputs',
];
const parameterKeys = [
  'type',
  'title',
  'description',
  'secret',
  'required',
  'enum',
  'pattern',
  'format',
  'default',
  'order',
];
const configKeys = ['shell', 'command', 'timeout', 'working_directory', 'environment', 'expected_exit_codes'];

/** In what order the keys of a map stand, for where a new one goes. */
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
    if (key !== 'steps' || !Array.isArray(value))
      return `${writtenKey(key, manner)}:${writtenAfterKey(value, manner)}`;
    const steps = value.map((step) =>
      writtenItem(Object.fromEntries(sorted(step as object, stepKeys)), { ...manner, indent: 2 }),
    );
    return `steps:\n${steps.join('\n')}`;
  });
  return `${lines.join('\n')}\n`;
}

function sorted(value: object, order: readonly string[]): [string, unknown][] {
  const rank = (name: string) => (order.indexOf(name) === -1 ? order.length : order.indexOf(name));
  return Object.entries(value)
    .filter(([, one]) => one !== undefined)
    .toSorted(([a], [b]) => rank(a) - rank(b));
}
