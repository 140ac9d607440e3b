import type { ErrorDetail, JobDefinition } from '@opsconductor/protocol';
import { MissingPermission } from '../auth/missing-permission.ts';
import type { Caller } from '../caller.ts';
import type { Queryable } from '../store/connection.ts';
import { usableCredentialNames } from '../store/credentials.ts';

/**
 * For whoever saves a definition: each credential that it names must be one that they may use, in a segment or on a
 * target of it. Where a run uses it is asked again, of its runner. A name that no credential has yet is for those who
 * may use all: to others it looks like one that they may not use.
 *
 * @throws {MissingPermission} with a detail for each place that names one (`steps[2].connection.credential`).
 */
export async function requireCredentialUse(
  sql: Queryable,
  caller: Caller,
  definition: Pick<JobDefinition, 'connection' | 'steps'>,
): Promise<void> {
  if (caller.authority.holdsEverywhere('credentials.use')) return;
  const named = [
    { path: 'connection.credential', name: definition.connection?.credential },
    ...definition.steps.map((step, at) => ({
      path: `steps[${at}].connection.credential`,
      name: step.connection?.credential,
    })),
  ].flatMap(({ path, name }) => (name === undefined ? [] : [{ path, name }]));
  if (named.length === 0) return;
  const names = [...new Set(named.map(({ name }) => name))];
  const usable = await usableCredentialNames(sql, names, caller.authority.reach('credentials.use'));
  const details = named.flatMap(({ path, name }): ErrorDetail[] =>
    usable.has(name)
      ? []
      : [
          {
            path,
            message:
              'There is no credential of this name that you may use: that needs the permission credentials.use on a segment that has one, or on a target there.',
            found: name,
            allowed: 'the name of a credential that you may use, or none',
          },
        ],
  );
  if (details.length === 0) return;
  const where = 'the segment of a credential that the job names, or on a target there';
  throw new MissingPermission(caller, 'credentials.use', where, details);
}
