import type { DefinitionProblem, ErrorDetail, JobDefinition } from '@opsconductor/protocol';
import { MissingPermission } from '../auth/missing-permission.ts';
import type { Caller } from '../caller.ts';
import type { Queryable } from '../store/database/connection.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { usableCredentialNames } from '../store/targets/credentials.ts';

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
  definition: Definition,
): Promise<void> {
  if (caller.authority.holdsEverywhere('credentials.use')) return;
  const names = credentialsNamed(definition);
  if (names.length === 0) return;
  const usable = await usableCredentialNames(sql, names, caller.authority.reach('credentials.use'));
  const details = credentialProblems(definition, (name) => usable.has(name));
  if (details.length === 0) return;
  const where = 'the segment of a credential that the job names, or on a target there';
  throw new MissingPermission(caller, 'credentials.use', where, details);
}

/**
 * Names that no credential has, as warnings: a credential may come after the job that names it, as with imports and
 * templates. Only who may use all credentials is told, as to others it is an error.
 */
export async function unknownCredentials(
  sql: Queryable,
  caller: Caller,
  definition: Definition,
): Promise<DefinitionProblem[]> {
  const names = credentialsNamed(definition);
  if (names.length === 0 || !caller.authority.holdsEverywhere('credentials.use')) return [];
  const there = await usableCredentialNames(sql, names, unrestricted);
  return absentCredentials(definition, (name) => there.has(name)).map((one) => ({
    ...one,
    severity: 'warning',
  }));
}

/** A detail for each place that names a credential that is not there. */
export function absentCredentials(definition: Definition, isThere: (name: string) => boolean): ErrorDetail[] {
  return placesOf(definition)
    .filter(({ name }) => !isThere(name))
    .map(({ path, name }) => ({
      path,
      message: `No segment has a credential named “${name}” yet; until one has, what asks for it fails.`,
      found: name,
    }));
}

/** What of a definition names credentials. */
interface Definition extends Pick<JobDefinition, 'connection'> {
  steps: readonly Pick<JobDefinition['steps'][number], 'connection' | 'config'>[];
}

/** Of the credential that a step's command runs as, where it names one. */
export function runAsCredential({ config }: { config: unknown }): string | undefined {
  const { run_as_credential: name } = Object(config) as { run_as_credential?: unknown };
  return typeof name === 'string' ? name : undefined;
}

/** Names of credentials in a definition, each once. */
export function credentialsNamed(definition: Definition): string[] {
  return [...new Set(placesOf(definition).map(({ name }) => name))];
}

/** A detail for each place that names a credential that may not be used. */
export function credentialProblems(definition: Definition, mayUse: (name: string) => boolean): ErrorDetail[] {
  return placesOf(definition).flatMap(({ path, name }): ErrorDetail[] =>
    mayUse(name)
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
}

function placesOf({ connection, steps }: Definition): { path: string; name: string }[] {
  const named = [
    { path: 'connection.credential', name: connection?.credential },
    ...steps.flatMap((step, at) => [
      { path: `steps[${at}].connection.credential`, name: step.connection?.credential },
      { path: `steps[${at}].config.run_as_credential`, name: runAsCredential(step) },
    ]),
  ];
  return named.flatMap(({ path, name }) => (name === undefined ? [] : [{ path, name }]));
}
