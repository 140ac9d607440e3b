import type { ValueDefinition } from '../api/jobs/parameters.ts';
import { describeSchema } from '../validation-wording.ts';
import { schemaOf } from './json-schema.ts';

/** What a value may be, for a form's hint: `an integer from 1 to 50`. Undefined where its field says so already. */
export function describeValue(definition: ValueDefinition): string | undefined {
  const { type } = definition;
  // Fields offer what is in an enum, and show what is in an object.
  if (definition.enum !== undefined || type === 'object' || type === 'boolean') return undefined;
  const text = describeSchema(schemaOf(definition));
  const whole = definition.uniqueItems === true ? `${text}, no two alike` : text;
  return whole === describeSchema({ type }) ? undefined : whole;
}
