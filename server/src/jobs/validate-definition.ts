// What the outer schema of a job definition can't say: each step's configuration by its type's own schema, and names
// that must differ. Everything that is wrong is told at once.
import {
  type ErrorDetail,
  type JobDefinition,
  JobDefinitionSchema,
  stepConfigSchema,
  visibleJson,
} from '@opsconductor/protocol';
import { AppError } from '../errors.ts';
import { schemaProblems } from '../schema-problems.ts';
import { withUnstorableText } from '../storable-text.ts';

const maxDetails = 50;

/**
 * Checks a definition whole and returns it with defaults filled in. The value given is left as it is.
 *
 * @throws {AppError} `invalid`, with a detail for each place that is wrong (`steps[2].config.timeout`).
 */
export function validateDefinition(value: unknown): JobDefinition {
  const definition: unknown = structuredClone(value);
  const problems = schemaProblems(JobDefinitionSchema, definition, { max: maxDetails });
  const steps = stepsOf(definition);
  steps.forEach((step, at) => {
    problems.push(...configProblems(step, at));
  });
  problems.push(...nameProblems(steps), ...steps.flatMap(ruleProblems), ...lockProblems(definition));
  const details = withUnstorableText(problems, definition);
  const [first] = details;
  if (first !== undefined) {
    const message =
      details.length === 1
        ? `${first.path}: ${first.message}`
        : `The job definition has ${details.length} problems. The first: ${first.path}: ${first.message}`;
    throw new AppError('invalid', message, { details: details.slice(0, maxDetails) });
  }
  return definition as JobDefinition;
}

/** Locks by name that would be the same one, and slots of a lock that is held alone. */
function lockProblems(definition: unknown): ErrorDetail[] {
  const { locks } = Object(definition) as { locks?: unknown };
  if (!Array.isArray(locks)) return [];
  const firstAt = new Map<string, number>();
  return locks.flatMap((entry, at) => {
    const { name, mode, slots, per = 'installation' } = Object(entry) as LooseLock;
    const problems: ErrorDetail[] = [];
    if (mode === 'exclusive' && slots !== undefined) {
      problems.push({
        path: `locks[${at}].slots`,
        message: 'An exclusive lock is held by one target run: leave slots out, or share the lock.',
        found: visibleJson(String(slots)),
        allowed: 'slots on locks with mode “shared”',
      });
    }
    const key = `${name}@${per}`;
    const before = firstAt.get(key);
    if (before === undefined) firstAt.set(key, at);
    else if (typeof name === 'string') {
      problems.push({
        path: `locks[${at}].name`,
        message: `Lock ${before + 1} is the same one; name each lock once.`,
        found: visibleJson(name.slice(0, 100)),
        allowed: 'a name that no other lock of the job has with the same “per”',
      });
    }
    return problems;
  });
}

type LooseLock = { name?: unknown; mode?: unknown; slots?: unknown; per?: unknown };
type LooseStep = { name?: unknown; type?: unknown; config?: unknown } & Record<string, unknown>;

/** The steps as far as they are objects; the outer schema tells of the rest. */
function stepsOf(definition: unknown): LooseStep[] {
  const { steps } = Object(definition) as { steps?: unknown };
  return Array.isArray(steps) ? steps.map((step) => Object(step) as LooseStep) : [];
}

function configProblems(step: LooseStep, at: number): ErrorDetail[] {
  if (typeof step.type !== 'string' || !('config' in step)) return [];
  const schema = stepConfigSchema(step.type);
  return schema === undefined
    ? []
    : schemaProblems(schema, step.config, { root: `steps[${at}].config`, max: maxDetails });
}

function nameProblems(steps: readonly LooseStep[]): ErrorDetail[] {
  const firstAt = new Map<string, number>();
  return steps.flatMap(({ name }, at) => {
    if (typeof name !== 'string') return [];
    const before = firstAt.get(name);
    if (before === undefined) {
      firstAt.set(name, at);
      return [];
    }
    return [
      {
        path: `steps[${at}].name`,
        message: `Step ${before + 1} has this name too; give each step a name of its own.`,
        found: visibleJson(name.slice(0, 100)),
        allowed: 'a name that no other step of the job has',
      },
    ];
  });
}

/** Rules of a step that contradict one another, or would never come to anything. */
function ruleProblems(step: LooseStep, at: number): ErrorDetail[] {
  const { on_unknown: onUnknown, idempotent, hold_for: holdFor, retry, when_status: when } = step;
  const problems: ErrorDetail[] = [];
  const add = (field: string, found: unknown, message: string, allowed: string) =>
    problems.push({
      path: `steps[${at}].${field}`,
      message,
      found: typeof found === 'string' ? visibleJson(found.slice(0, 100)) : String(found),
      allowed,
    });
  if (onUnknown === 'retry' && idempotent !== true) {
    add(
      'on_unknown',
      onUnknown,
      'What may have run is run again only where that does no harm: say `idempotent: true` if it is so, or use `hold` to be asked.',
      '`fail` or `hold`; `retry` with `idempotent: true`',
    );
  }
  if (holdFor !== undefined && onUnknown !== 'hold') {
    add('hold_for', holdFor, 'Nothing is held without `on_unknown: hold`.', 'only with `on_unknown: hold`');
  }
  const { delay = 10, max_delay: maxDelay = 3_600 } = Object(retry) as {
    delay?: unknown;
    max_delay?: unknown;
  };
  if (typeof delay === 'number' && typeof maxDelay === 'number' && delay > maxDelay) {
    add('retry.max_delay', maxDelay, `The first delay, ${delay} s, is longer already.`, `${delay} or more`);
  }
  if (at === 0 && when === 'failure') {
    add(
      'when_status',
      when,
      'No step is before it that could fail.',
      '`success` or `always` for the first step',
    );
  }
  return problems;
}
