import type { DefinitionProblem, ErrorDetail, JobDefinition } from '@opsconductor/protocol';
import { MissingPermission } from '../../auth/missing-permission.ts';
import type { Caller } from '../../caller.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { usableCredentialNames } from '../../store/targets/credentials.ts';

/**
 * Checks a definition that is about to be saved: the caller must be able to use each credential that it names, in some
 * segment or on a target there. When a run uses a credential, its runner is checked again. A name that no credential
 * has yet is allowed only for callers who may use all credentials; to others it looks like one that they may not use.
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
 * Returns warnings for names that no credential has: a credential may be created after the job that names it, as with
 * imports and templates. Only callers who may use all credentials get them; for others such a name is an error.
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

/** Returns a detail for each place that names a credential that does not exist. */
export function absentCredentials(definition: Definition, isThere: (name: string) => boolean): ErrorDetail[] {
  return placesOf(definition)
    .filter(({ name }) => !isThere(name))
    .map(({ path, name }) => ({
      path,
      message: `No segment has a credential named “${name}” yet; until one has, whatever asks for it fails.`,
      found: name,
    }));
}

/** The parts of a definition that can name credentials. */
interface Definition extends Pick<JobDefinition, 'connection'> {
  steps: readonly Pick<JobDefinition['steps'][number], 'connection' | 'config'>[];
}

/** Returns the name of the credential that a step's command runs as, if there is one. */
export function runAsCredential({ config }: { config: unknown }): string | undefined {
  const { run_as_credential: name } = Object(config) as { run_as_credential?: unknown };
  return typeof name === 'string' ? name : undefined;
}

/** Returns the names of credentials in a definition, each once. */
export function credentialsNamed(definition: Definition): string[] {
  return [...new Set(placesOf(definition).map(({ name }) => name))];
}

/** Returns a detail for each place that names a credential that the caller may not use. */
export function credentialProblems(definition: Definition, mayUse: (name: string) => boolean): ErrorDetail[] {
  return placesOf(definition).flatMap(({ path, name }): ErrorDetail[] =>
    mayUse(name)
      ? []
      : [
          {
            path,
            message:
              'There is no credential of this name that you may use. Using one needs the permission credentials.use on a segment that has it, or on a target there.',
            found: name,
            allowed: 'the name of a credential that you may use, or leave it out',
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
