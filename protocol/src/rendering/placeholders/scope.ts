// What a step may refer to, and what is known about it before there are values: its type, whether it may be missing,
// and whether it is secret.
import type { JobDefinition, StepDefinition } from '../../api/jobs/jobs.ts';
import {
  identifierPattern,
  type Parameter,
  type Parameters,
  type ParameterType,
  type ValueDefinition,
} from '../../api/jobs/parameters.ts';
import { placeholderText, type Reference } from './reference.ts';

export interface ScopeOutput {
  secret?: boolean;
  allow_leading_dash?: boolean;
  /** Its step may not have run, or may not have found it. */
  mayBeAbsent?: boolean;
}
export interface RenderScope {
  /** Position of the step in its job, such as `steps[2]`. */
  path: string;
  parameters: Parameters;
  /** Earlier steps, by the name used to refer to them. */
  steps: Record<string, { outputs: Record<string, ScopeOutput> }>;
  /** Names of this step and of later ones, for a more helpful message. */
  notYet?: readonly string[];
}

/** What is known about a reference when saving. */
export interface Known {
  type: ParameterType;
  secret: boolean;
  allowLeadingDash: boolean;
  mayBeAbsent: boolean;
  /** The expression that tests whether it exists, for `when`. */
  has?: string;
  /** The parameter, if the reference is to all of it. */
  parameter?: Parameter;
}
export type LookedUp = Known | { problem: string; fix: string };

const plain = { secret: false, allowLeadingDash: false, mayBeAbsent: false };
const givenFields: Record<'target' | 'run' | 'job', Record<string, ParameterType>> = {
  target: { name: 'string', host: 'string', port: 'integer', os: 'string', segment: 'string' },
  run: { id: 'integer', created_at: 'string', created_by: 'string' },
  job: { id: 'integer', name: 'string', version: 'integer' },
};

/** Returns the scope of one of a job's steps. */
export function scopeOf(definition: Pick<JobDefinition, 'parameters' | 'steps'>, at: number): RenderScope {
  const steps: RenderScope['steps'] = {};
  for (const step of definition.steps.slice(0, at)) {
    const name = stepReferenceName(step);
    if (name === undefined) continue;
    const mayNotRun = step.when !== undefined || (step.when_status ?? 'success') !== 'success';
    // A clean-up step also runs if an earlier step failed.
    const mayFollowFailure = (definition.steps[at]?.when_status ?? 'success') !== 'success';
    steps[name] = {
      outputs: Object.fromEntries(
        Object.entries(step.outputs ?? {}).map(([key, output]) => [
          key,
          {
            ...(output.secret === undefined ? {} : { secret: output.secret }),
            ...(output.allow_leading_dash === undefined
              ? {}
              : { allow_leading_dash: output.allow_leading_dash }),
            mayBeAbsent: mayNotRun || mayFollowFailure,
          },
        ]),
      ),
    };
  }
  const notYet = definition.steps.slice(at).flatMap((step) => stepReferenceName(step) ?? []);
  return { path: `steps[${at}]`, parameters: definition.parameters ?? {}, steps, notYet };
}

/**
 * Returns the name that other steps use for a step: its id, or its name if that is an identifier; otherwise
 * `undefined`.
 */
export function stepReferenceName(step: Pick<StepDefinition, 'id' | 'name'>): string | undefined {
  if (step.id !== undefined) return step.id;
  return new RegExp(identifierPattern).test(step.name) ? step.name : undefined;
}

/** Returns what is known about a reference, or what is wrong with it. */
export function lookUp(reference: Reference, scope: RenderScope): LookedUp {
  switch (reference.source) {
    case 'parameters':
      return lookUpParameter(reference, scope);
    case 'steps':
      return lookUpOutput(reference, scope);
    default:
      return lookUpGiven(reference, reference.source);
  }
}

function lookUpGiven({ path }: Reference, source: 'target' | 'run' | 'job'): LookedUp {
  const [name, key, ...rest] = path;
  if (source === 'target' && name === 'labels' && typeof key === 'string' && rest.length === 0) {
    return { ...plain, type: 'string' };
  }
  const type = ownOf(givenFields[source], name);
  if (type !== undefined && key === undefined) return { ...plain, type };
  const names = [...Object.keys(givenFields[source]), ...(source === 'target' ? ['labels.<name>'] : [])];
  return {
    problem: `The ${source} has nothing with this name`,
    fix: `There is ${names.map((each) => `${source}.${each}`).join(', ')}.`,
  };
}

function lookUpParameter(reference: Reference, scope: RenderScope): LookedUp {
  const [name, ...rest] = reference.path;
  const parameter = ownOf(scope.parameters, name);
  if (parameter === undefined) {
    const names = Object.keys(scope.parameters);
    return {
      problem:
        name === undefined
          ? 'The name of the parameter is missing'
          : `The job has no parameter ${JSON.stringify(name)}`,
      fix:
        names.length === 0
          ? 'Declare it under parameters.'
          : `Declare it under parameters, or use one of ${list(names)}.`,
    };
  }
  let known: Known = {
    type: parameter.type,
    secret: parameter.secret === true,
    allowLeadingDash: parameter.allow_leading_dash === true,
    mayBeAbsent: !isGiven(parameter),
    has: `has(parameters.${name})`,
    ...(rest.length === 0 ? { parameter } : {}),
  };
  let value: ValueDefinition = parameter;
  let text = `parameters.${name}`;
  for (const part of rest) {
    const inner = typeof part === 'number' ? value.items : ownOf(value.properties ?? {}, part);
    if (inner === undefined || value.type !== (typeof part === 'number' ? 'array' : 'object')) {
      return missingPart(text, value, part);
    }
    const absent = typeof part === 'number' ? part >= (value.minItems ?? 0) : !isGiven(inner);
    const has = typeof part === 'number' ? `size(${text}) > ${part}` : `has(${text}.${part})`;
    text += typeof part === 'number' ? `[${part}]` : `.${part}`;
    known = {
      ...known,
      type: inner.type,
      mayBeAbsent: known.mayBeAbsent || absent,
      ...(absent ? { has } : {}),
    };
    value = inner;
  }
  return known;
}

function missingPart(text: string, value: ValueDefinition, part: string | number): LookedUp {
  const names = Object.keys(value.properties ?? {});
  const fix =
    value.type === 'object'
      ? `Declare it under the properties of ${text}${names.length === 0 ? '' : `, or use one of ${list(names)}`}.`
      : value.type === 'array'
        ? `Declare the items of ${text}, and refer to one by its number: \${{ ${text}[0] }}.`
        : `Write \${{ ${text} }}.`;
  return {
    problem: `${text} is ${article(value.type)} and has no ${JSON.stringify(part)} that is declared`,
    fix,
  };
}

function lookUpOutput({ path }: Reference, scope: RenderScope): LookedUp {
  const [step, word, name, ...rest] = path;
  const form = 'Write ${{ steps.<id>.outputs.<name> }}.';
  if (typeof step !== 'string' || word !== 'outputs' || typeof name !== 'string' || rest.length > 0) {
    return { problem: 'This is not an output of a step', fix: form };
  }
  const earlier = ownOf(scope.steps, step);
  if (earlier === undefined) {
    const known = Object.keys(scope.steps);
    if (scope.notYet?.includes(step)) {
      return {
        problem: `The step ${step} has not run by then`,
        fix: 'A step can only use outputs of earlier steps; change their order.',
      };
    }
    return {
      problem: `No step before this one is called ${JSON.stringify(step)}`,
      fix:
        known.length === 0
          ? 'Give the earlier step an id, and outputs.'
          : `Steps before it are ${list(known)}; give the one that is meant this id.`,
    };
  }
  const output = ownOf(earlier.outputs, name);
  if (output === undefined) {
    const names = Object.keys(earlier.outputs);
    return {
      problem: `The step ${step} has no output ${JSON.stringify(name)}`,
      fix: `Declare it under the outputs of that step${names.length === 0 ? '' : `, or use one of ${list(names)}`}.`,
    };
  }
  return {
    type: 'string',
    secret: output.secret === true,
    allowLeadingDash: output.allow_leading_dash === true,
    mayBeAbsent: output.mayBeAbsent === true,
    has: `has(steps.${step}.outputs.${name})`,
  };
}

/** Returns why a step can't use a reference that may have no value; `undefined` if its `when` tests for it. */
export function absenceProblem(
  reference: Reference,
  known: Known,
  when: string | undefined,
): { problem: string; fix: string } | undefined {
  if (!known.mayBeAbsent || known.has === undefined) return undefined;
  const squeeze = (text: string) => text.replaceAll(/\s+/g, '');
  if (when !== undefined && squeeze(when).includes(squeeze(known.has))) return undefined;
  const otherwise =
    reference.source === 'parameters' && reference.path.length === 1
      ? `give the parameter a default, or take its required: false away, or `
      : '';
  return {
    problem: `${placeholderText(reference)} may have no value`,
    fix: `${otherwise === '' ? 'Let' : `${otherwise[0]?.toUpperCase()}${otherwise.slice(1)}let`} the step run only where it has one: when: ${known.has}.`,
  };
}

function isGiven(value: ValueDefinition): boolean {
  return value.default !== undefined || value.required !== false;
}

function ownOf<T>(record: Readonly<Record<string, T>>, key: string | number | undefined): T | undefined {
  return typeof key === 'string' && Object.hasOwn(record, key) ? record[key] : undefined;
}

function list(names: readonly string[]): string {
  return names.length > 12 ? `${names.slice(0, 12).join(', ')}, …` : names.join(', ');
}

/** Returns a type with its article: `an integer`. */
export function article(type: string): string {
  return `${/^[aio]/.test(type) ? 'an' : 'a'} ${type}`;
}
