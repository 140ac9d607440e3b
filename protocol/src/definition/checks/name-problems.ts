// Checks names that must be unique (steps, step ids, locks), and that the category's path is well-formed.
import type { ErrorDetail } from '../../api/errors.ts';
import { identifierPattern } from '../../api/jobs/parameters.ts';
import { reservedNames, reservedProblem } from '../../parameters/reserved-names.ts';
import { detail, type LooseDefinition, type LooseStep } from './loose.ts';

const identifier = new RegExp(identifierPattern);

/** Reports steps with the name of another one, or with an id that another one is called by. */
export function nameProblems({ steps }: LooseDefinition): ErrorDetail[] {
  const names = new Map<string, number>();
  const called = new Map<string, Called>();
  return steps.flatMap((step, at) => [...sameName(step, at, names), ...sameCall(step, at, called)]);
}

function sameName({ name }: LooseStep, at: number, names: Map<string, number>): ErrorDetail[] {
  if (typeof name !== 'string') return [];
  const before = names.get(name);
  if (before === undefined) {
    names.set(name, at);
    return [];
  }
  return [
    detail(
      `steps[${at}].name`,
      `Step ${before + 1} has this name too; give each step a name of its own.`,
      name,
      'a name that no other step of the job has',
    ),
  ];
}

interface Called {
  at: number;
  field: 'id' | 'name';
}

/** Other steps refer to a step by its id, or by its name if that is an identifier. */
function sameCall(step: LooseStep, at: number, called: Map<string, Called>): ErrorDetail[] {
  const field = step.id === undefined ? 'name' : 'id';
  const call = step[field];
  if (typeof call !== 'string' || !identifier.test(call)) return [];
  const path = `steps[${at}].${field}`;
  if (field === 'id' && reservedNames.has(call)) {
    return reservedProblem(call, path, 'step');
  }
  const before = called.get(call);
  if (before === undefined) {
    called.set(call, { at, field });
    return [];
  }
  // Two equal names have already been reported.
  if (field === 'name' && before.field === 'name') return [];
  return [
    detail(
      path,
      `Step ${before.at + 1} is called ${call} too; give this one ${field === 'id' ? 'another id' : 'an id of its own'}.`,
      call,
      'an id that is neither the id nor the name of another step',
    ),
  ];
}

/** Reports a path with parts that no category can have. */
export function categoryProblems({ category }: LooseDefinition): ErrorDetail[] {
  if (typeof category !== 'string' || category.trim() === '') return [];
  if (category.split('/').every((part) => part !== '' && part === part.trim())) return [];
  const message = 'Has a part that is empty or begins or ends with a space.';
  return [detail('category', message, category, 'names with single slashes between them: `prod/db`')];
}

type LooseLock = { name?: unknown; mode?: unknown; slots?: unknown; per?: unknown };

/** Reports locks that are the same one, and slots on an exclusive lock. */
export function lockProblems({ locks }: LooseDefinition): ErrorDetail[] {
  if (!Array.isArray(locks)) return [];
  const firstAt = new Map<string, number>();
  return locks.flatMap((entry, at) => {
    const { name, mode, slots, per = 'installation' } = Object(entry) as LooseLock;
    const problems: ErrorDetail[] = [];
    if (mode === 'exclusive' && slots !== undefined) {
      problems.push(
        detail(
          `locks[${at}].slots`,
          'An exclusive lock is held by one target run: leave slots out, or share the lock.',
          slots,
          'slots on locks with mode “shared”',
        ),
      );
    }
    if (typeof name !== 'string' || typeof per !== 'string') return problems;
    const key = `${name}@${per}`;
    const before = firstAt.get(key);
    if (before === undefined) firstAt.set(key, at);
    else {
      problems.push(
        detail(
          `locks[${at}].name`,
          `Lock ${before + 1} is the same; name each lock once.`,
          name,
          'a name that no other lock of the job has with the same “per”',
        ),
      );
    }
    return problems;
  });
}
