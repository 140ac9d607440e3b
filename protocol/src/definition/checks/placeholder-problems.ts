// Checks placeholders in a definition: those in texts of steps with the renderer; in all other fields where somebody
// might expect them to work, they are refused.
import type { ErrorDetail } from '../../api/errors.ts';
import { checkStep } from '../../rendering/check-step.ts';
import { textFieldsOf } from '../../rendering/placeholders/fields.ts';
import { scopeOf } from '../../rendering/placeholders/scope.ts';
import { stepConfigSchema } from '../../steps/registry.ts';
import { speaksOf } from './condition-problems.ts';
import { detail, isObject, type LooseDefinition, type LooseStep } from './loose.ts';
import type { SoundDefinition } from './sound.ts';

const opening = '${{';

/**
 * Returns what is wrong with placeholders, or with their place.
 * @param broken parameters that are themselves wrong: nothing is said of placeholders for them
 */
export function placeholderProblems(
  { steps, ...definition }: LooseDefinition,
  sound: SoundDefinition,
  broken: ReadonlySet<string>,
): ErrorDetail[] {
  const { name, category, connection, locks, labels } = definition;
  return [
    ...elsewhere({ name, category, connection, locks, labels }, ''),
    ...steps.flatMap((step, at) => {
      const path = `steps[${at}]`;
      const { name: stepName, id, connection: own } = step;
      return [
        ...elsewhere({ name: stepName, id, connection: own }, path),
        ...configProblems(step, at, sound).filter(({ found }) => !speaksOf(found ?? '', broken)),
      ];
    }),
  ];
}

function configProblems(step: LooseStep, at: number, sound: SoundDefinition): ErrorDetail[] {
  const { type, config, when } = step;
  // If the step type is misspelled, its fields are unknown.
  if (typeof type !== 'string' || stepConfigSchema(type) === undefined || !isObject(config)) return [];
  const renderable = { type, config, ...(typeof when === 'string' ? { when } : {}) };
  return checkStep(renderable, scopeOf(sound, at));
}

/** Keys of texts in a step's configuration that contain placeholders, so that their final value isn't known yet. */
export function templatedKeys(type: string, config: unknown): string[][] {
  return textFieldsOf(type, config)
    .filter(({ text, kind }) => kind === 'text' && text.includes(opening))
    .map(({ keys }) => keys);
}

function elsewhere(value: unknown, path: string): ErrorDetail[] {
  if (typeof value === 'string') {
    if (!value.includes(opening)) return [];
    const message =
      'Placeholders don’t work here: they go into `command`, `working_directory` and the values of `environment` of a step.';
    return [detail(path, message, value)];
  }
  if (Array.isArray(value)) return value.flatMap((item, at) => elsewhere(item, `${path}[${at}]`));
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    elsewhere(inner, path === '' ? name : `${path}.${name}`),
  );
}
