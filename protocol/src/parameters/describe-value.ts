import type { ValueDefinition } from '../api/jobs/parameters.ts';
import { describeSchema } from '../validation-wording.ts';
import { schemaOf } from './json-schema.ts';

/**
 * Describes what a value may be, as a hint in a form: `an integer from 1 to 50`. `undefined` if its field shows that
 * anyway.
 */
export function describeValue(definition: ValueDefinition): string | undefined {
  const { type } = definition;
  // Fields offer the values of an enum, and show the properties of an object.
  if (definition.enum !== undefined || type === 'object' || type === 'boolean') return undefined;
  const text = describeSchema(schemaOf(definition));
  const whole = definition.uniqueItems === true ? `${text}, no two alike` : text;
  return whole === describeSchema({ type }) ? undefined : whole;
}
