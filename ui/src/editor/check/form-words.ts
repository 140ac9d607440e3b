// What a problem says beside a field of the form, where fields have the names that the form gives them: the checks name
// fields as the text does.
import { stepConfigSchema, stepTypes } from '@opsconductor/protocol';
import { type FieldSchema, wordsOf } from '../fields/field-kinds.ts';
import { type Problem, problemText } from './problems.ts';

/** Labels of the fields of all step types; alike fields of two types have the same label. */
const labels = new Map<string, string>([
  ['on_unknown', 'If unknown'],
  ['hold_for', 'Waits'],
  ['idempotent', 'Idempotent'],
  ...stepTypes.flatMap((type) =>
    Object.entries((stepConfigSchema(type) as FieldSchema | undefined)?.properties ?? {}).map(
      ([name, schema]) => [name, wordsOf(name, schema)] as const,
    ),
  ),
]);
const flagWords: Record<string, string> = { true: 'yes', false: 'no' };

/** Returns what a problem says, with “Path on the agent” for `local_path`, as the form calls it. */
export function formText(problem: Problem): string {
  const text = problemText(problem);
  if (problem.place[0] !== 'steps') return text;
  return text.replaceAll(/`([a-z_]+)(?:: ([a-z_]+))?`/g, (whole, name: string, value?: string) => {
    const label = labels.get(name);
    if (label === undefined) return whole;
    return value === undefined ? `“${label}”` : `“${label}: ${flagWords[value] ?? value}”`;
  });
}
