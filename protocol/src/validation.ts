// Turns ajv's errors into details for people: a path, one sentence, what was found, what is allowed. For a union, only
// the branch that was meant is reported; the value of a secret never is.
import type { ErrorObject, Options } from 'ajv';
import type { ErrorDetail } from './api/errors.ts';

export { describeSchema } from './validation-wording.ts';

import { describeAllowed, describeFound, sentenceOf } from './validation-wording.ts';

/**
 * Options for all our ajv instances (`ajv/dist/2020`): strict, filling in defaults, with the one format that schemas
 * use. `verbose` makes each error carry its schema, which `errorDetails` reads.
 */
export const validatorOptions = {
  strict: true,
  useDefaults: true,
  verbose: true,
  // Optimizing the generated code takes ajv longer than generating it, and makes validation no faster.
  code: { optimize: false },
  formats: { uuid: /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/ },
} as const satisfies Options;

export interface ErrorDetailsOptions {
  /** Prefix of each path, such as `body` or `query`. */
  root?: string;
  /** Greatest number of details; 20 by default. */
  max?: number;
}

/**
 * Turns the errors of a validator made with `validatorOptions` into details for people: in document order, one for each
 * place.
 */
export function errorDetails(
  errors: readonly ErrorObject[] | null | undefined,
  options: ErrorDetailsOptions = {},
): ErrorDetail[] {
  const details = new Map<string, ErrorDetail>();
  for (const { error, orNull } of settleUnions(errors ?? [])) {
    if (details.size >= (options.max ?? 20)) break;
    const path = pathOf(error, options.root ?? '');
    // For a constant, the expected value says more than its type.
    if (error.keyword === 'type' && 'const' in Object(error.parentSchema)) continue;
    const key = `${path}\n${error.keyword}`;
    if (!details.has(key)) details.set(key, detailOf(error, path, orNull));
  }
  return [...details.values()];
}

/** Turns `/steps/2/config/timeout` into `steps[2].config.timeout`. */
export function readablePath(pointer: string, root = ''): string {
  let path = root;
  for (const raw of pointer.split('/').slice(1)) path = joinPath(path, decodePointerSegment(raw));
  return path;
}

function joinPath(path: string, segment: string): string {
  if (/^(0|[1-9]\d*)$/.test(segment)) return `${path}[${segment}]`;
  if (!/^[\w-]{1,100}$/.test(segment)) return `${path}[${JSON.stringify(segment.slice(0, 100))}]`;
  return path === '' ? segment : `${path}.${segment}`;
}

function decodePointerSegment(segment: string): string {
  return segment.replaceAll('~1', '/').replaceAll('~0', '~');
}

function pathOf(error: ErrorObject, root: string): string {
  const parent = readablePath(error.instancePath, root);
  const child = error.params.missingProperty ?? error.params.additionalProperty ?? error.params.propertyName;
  return typeof child === 'string' ? joinPath(parent, child) : parent;
}

function detailOf(error: ErrorObject, path: string, orNull: boolean): ErrorDetail {
  const found = describeFound(error, path);
  const allowed = describeAllowed(error);
  return {
    path,
    message: sentenceOf(error),
    ...(found === undefined ? {} : { found }),
    ...(allowed === undefined ? {} : { allowed: orNull ? `${allowed}, or null` : allowed }),
  };
}

interface Settled {
  error: ErrorObject;
  /** The value may also be null. */
  orNull: boolean;
}

/**
 * Replaces each failed union and the errors of all its branches with those of the one branch that was meant. A
 * validator reports a union right after its branches, so one backward pass finds the groups. This is a generator so
 * that a caller with enough errors stops settling more of them: a hostile value has thousands.
 */
function* settleUnions(errors: readonly ErrorObject[]): Generator<Settled> {
  const groups: { union?: ErrorObject; from: number; to: number }[] = [];
  for (let to = errors.length; to > 0; ) {
    const last = errors[to - 1] as ErrorObject;
    let from = to - 1;
    if (isUnion(last)) {
      while (from > 0 && isInside(errors[from - 1] as ErrorObject, last)) from--;
      groups.push({ union: last, from, to: to - 1 });
    } else {
      groups.push({ from, to });
    }
    to = from;
  }
  for (const { union, from, to } of groups.reverse()) {
    const own = errors.slice(from, to);
    if (union !== undefined) yield* settleUnion(union, own);
    else for (const error of own) yield { error, orNull: false };
  }
}

function isUnion({ keyword }: ErrorObject): boolean {
  return keyword === 'anyOf' || keyword === 'oneOf';
}

function isInside(error: ErrorObject, union: ErrorObject): boolean {
  return (
    error.schemaPath.startsWith(`${union.schemaPath}/`) &&
    (error.instancePath === union.instancePath || error.instancePath.startsWith(`${union.instancePath}/`))
  );
}

function settleUnion(union: ErrorObject, complaints: readonly ErrorObject[]): Settled[] {
  const branches = new Map<string, ErrorObject[]>();
  for (const complaint of complaints) {
    const index = complaint.schemaPath.slice(union.schemaPath.length + 1).split('/', 1)[0] ?? '';
    const branch = branches.get(index);
    if (branch === undefined) branches.set(index, [complaint]);
    else branch.push(complaint);
  }
  const schemas: unknown = union.schema;
  const mayBeNull = Array.isArray(schemas) && schemas.some((schema) => schema?.type === 'null');
  const meant = [...branches.values()].filter((branch) => !branch.some((error) => rulesOut(error, union)));
  const only = meant[0];
  if (only === undefined || meant.length > 1) {
    return [{ error: tagError([...branches.values()], union) ?? union, orNull: false }];
  }
  return [...settleUnions(only)].map(({ error, orNull }) => ({
    error,
    orNull: orNull || (mayBeNull && error.instancePath === union.instancePath && !isAboutChild(error)),
  }));
}

/** If all branches expect a different `type: 'x'`, the only error is about that tag. */
function tagError(branches: readonly ErrorObject[][], union: ErrorObject): ErrorObject | undefined {
  const tags = branches.map((branch) => branch.find((error) => isTagOf(error, union)));
  const [first] = tags;
  if (first === undefined || tags.some((tag) => tag?.instancePath !== first.instancePath)) return undefined;
  const values = tags.map((tag) => tag?.schema);
  return { ...first, keyword: 'enum', params: { allowedValues: values }, parentSchema: { enum: values } };
}

function isTagOf(error: ErrorObject, union: ErrorObject): boolean {
  const inside = error.instancePath.slice(union.instancePath.length + 1);
  return (
    error.keyword === 'const' && typeof error.data === 'string' && inside !== '' && !inside.includes('/')
  );
}

/** A value of a different type, or with a different `type: 'x'` tag, was not meant for this branch. */
function rulesOut(error: ErrorObject, union: ErrorObject): boolean {
  if (error.instancePath === union.instancePath) return ['type', 'const', 'enum'].includes(error.keyword);
  return isTagOf(error, union);
}

function isAboutChild(error: ErrorObject): boolean {
  return error.keyword === 'required' || error.keyword === 'additionalProperties';
}
