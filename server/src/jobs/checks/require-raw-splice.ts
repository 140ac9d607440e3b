import { type ErrorDetail, type JobDefinition, rawSplicesOf } from '@opsconductor/protocol';
import { MissingPermission } from '../../auth/missing-permission.ts';
import type { Caller } from '../../caller.ts';

/**
 * Checks the permission for a version whose steps put values into the text of a script. The saver answers for the whole
 * version, so every save of a version with such a splice needs it, whoever wrote the splice first.
 * @throws {MissingPermission} with a detail for each splice.
 */
export function requireRawSplice(
  caller: Caller,
  category: { id: number; name: string },
  { steps }: Pick<JobDefinition, 'steps'>,
): void {
  if (caller.authority.holdsOnCategory('jobs.raw_splice', category.id)) return;
  const details = steps.flatMap(({ type, config }, at): ErrorDetail[] =>
    rawSplicesOf({ type, config }, `steps[${at}]`).map(({ path, place, raw, plain }) => ({
      path,
      message: `${place}: ${raw} makes its value part of the script. That needs the permission jobs.raw_splice on category “${category.name}”. Without it write ${plain}, which is data wherever it stands.`,
      found: raw,
      allowed: plain,
    })),
  );
  if (details.length === 0) return;
  throw new MissingPermission(caller, 'jobs.raw_splice', `category “${category.name}”`, details);
}
