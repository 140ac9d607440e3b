// Checks a whole job definition: its schema, each step's configuration by its type's schema, and the rules that a
// schema can't express. Server and console use the same check, and it reports everything at once.
import type { TSchema } from 'typebox';
import type { ErrorDetail } from '../api/errors.ts';
import { JobDefinitionSchema } from '../api/jobs/jobs.ts';
import { limits } from '../limits.ts';
import { checkParameters } from '../parameters/check-parameters.ts';
import { checkBySchema } from '../schema-check.ts';
import { stepConfigSchema } from '../steps/registry.ts';
import { brokenParameters, conditionProblems } from './checks/condition-problems.ts';
import { sizeProblems } from './checks/definition-size.ts';
import { isObject, type LooseStep, looseDefinition } from './checks/loose.ts';
import { categoryProblems, lockProblems, nameProblems } from './checks/name-problems.ts';
import { placeholderProblems, templatedKeys } from './checks/placeholder-problems.ts';
import { soundDefinition } from './checks/sound.ts';
import { protocolProblems, secretProblems, stepProblems } from './checks/step-problems.ts';

export const maxDefinitionProblems = 50;

export interface CheckDefinitionOptions {
  /** Checks a value against a schema. If it fills in defaults, it fills them in within the definition. */
  checkSchema?: (schema: TSchema, value: unknown, options: { root?: string; max?: number }) => ErrorDetail[];
}

/**
 * Returns a detail for each place where a definition is wrong (`steps[2].config.timeout`); empty if it can be saved. If
 * the definition is too large to be checked, returns only that problem.
 */
export function checkDefinition(
  definition: unknown,
  { checkSchema = checkBySchema }: CheckDefinitionOptions = {},
): ErrorDetail[] {
  const excess = sizeProblems(definition);
  if (excess.length > 0) return excess;
  const problems = checkSchema(JobDefinitionSchema, definition, { max: maxDefinitionProblems }).filter(
    ({ path }) => !tooDeep.test(path),
  );
  const loose = looseDefinition(definition);
  const { steps, parameters } = loose;
  const parameterProblems = checkParameters(parameters);
  const broken = brokenParameters([...problems, ...parameterProblems], parameters);
  const sound = soundDefinition(loose, broken);
  problems.push(
    ...steps.flatMap((step, at) => configProblems(step, at, checkSchema)),
    ...nameProblems(loose),
    ...beyond(categoryProblems(loose), problems),
    ...steps.flatMap(stepProblems),
    ...protocolProblems(loose),
    ...secretProblems(loose),
    ...lockProblems(loose),
    ...parameterProblems,
    ...conditionProblems(loose, sound, broken),
  );
  return once([...problems, ...beyond(placeholderProblems(loose, sound, broken), problems)]);
}

/** Anything nested deeper than the schema goes is reported as such elsewhere (parameters/check-parameters.ts). */
const tooDeep = new RegExp(
  `^parameters(\\.\\w+)((\\.items)|(\\.properties(\\.\\w+))){${limits.maxParameterDepth}}\\.(items|properties)`,
);

type CheckSchema = NonNullable<CheckDefinitionOptions['checkSchema']>;

function configProblems(step: LooseStep, at: number, checkSchema: CheckSchema): ErrorDetail[] {
  const { type, config } = step;
  if (typeof type !== 'string' || !('config' in step)) return [];
  const schema = stepConfigSchema(type);
  if (schema === undefined) return [];
  const check = () =>
    checkSchema(schema, config, { root: `steps[${at}].config`, max: maxDefinitionProblems }).map(
      withoutPlaceholder,
    );
  return isObject(config) ? withStandIns(type, config, check) : check();
}

/** Rewords a problem whose cause is a placeholder in a field that isn't text. */
function withoutPlaceholder(problem: ErrorDetail): ErrorDetail {
  const isPlaceholder =
    problem.found?.includes('${{') === true &&
    /^Must be (an integer|a number|true or false|one of)/.test(problem.message);
  if (!isPlaceholder) return problem;
  const field = problem.path.split('.').at(-1) ?? '';
  return {
    ...problem,
    message: `${field} takes ${problem.allowed ?? 'a fixed value'}; a placeholder can’t stand here.`,
  };
}

/**
 * Runs a check with texts that contain placeholders replaced by possible results. Agents check the real ones once
 * filled in.
 */
function withStandIns<T>(type: string, config: Record<string, unknown>, check: () => T): T {
  const replaced = templatedKeys(type, config).map((keys) => {
    const holder = keys.slice(0, -1).reduce<unknown>((inner, key) => Object(inner)[key], config) as Record<
      string,
      unknown
    >;
    const last = keys.at(-1) ?? '';
    const text = holder[last];
    holder[last] = standIn(type, last, String(text));
    return () => {
      holder[last] = text;
    };
  });
  try {
    return check();
  } finally {
    for (const restore of replaced) restore();
  }
}

function standIn(type: string, field: string, text: string): string {
  if (field === 'working_directory') return type.startsWith('winrm.') ? 'C:\\' : '/';
  if (field !== 'local_path' && field !== 'remote_path') return 'x';
  // The text around the placeholders is still checked.
  const first = type === 'winrm.copy' && field === 'remote_path' ? 'C:\\x' : '/x';
  return text.replace(/^\$\{\{.*?\}\}/s, first).replaceAll(/\$\{\{.*?\}\}/gs, 'x');
}

/** Returns the problems at places about which nothing has been reported yet. */
function beyond(more: readonly ErrorDetail[], told: readonly ErrorDetail[]): ErrorDetail[] {
  const paths = new Set(told.map(({ path }) => path));
  return more.filter(({ path }) => !paths.has(path));
}

/** Drops problems that repeat the same message at the same place. */
function once(problems: readonly ErrorDetail[]): ErrorDetail[] {
  const told = new Set<string>();
  return problems.filter(({ path, message }) => {
    const key = `${path}\n${message}`;
    return told.has(key) ? false : told.add(key);
  });
}
