// What the audit row of a start says about it.
import type { JobDefinition } from '@opsconductor/protocol';
import { runAsCredential } from '../../jobs/checks/require-credential-use.ts';
import type { SelectedRow } from '../../store/targets/target-selection.ts';
import type { GivenToRun } from './given-values.ts';
import { refOf, type StartRun } from './start-request.ts';

const maxDetails = 100;

/** Returns what was asked for at the start, apart from the targets. */
export function overridesOf({ priority, strategy, timeoutS, version, rerun }: StartRun) {
  return {
    ...(version === undefined ? {} : { versionAsked: version }),
    ...(priority === undefined ? {} : { priority }),
    ...(strategy === undefined ? {} : { strategy }),
    ...(timeoutS === undefined ? {} : { timeoutS }),
    ...(rerun === undefined ? {} : { rerunOf: rerun.runId, which: rerun.which }),
  };
}

/**
 * Returns the names of the values that the run was given, without the values, which may be confidential; and the tag or
 * channel and the reason that were given.
 */
export function valuesTold(request: StartRun, { values, secrets }: GivenToRun) {
  const { reason } = request;
  const versionRef = refOf(request);
  const secretNames = [...new Set(secrets?.secrets.map(({ name }) => name))];
  return {
    ...(values === undefined ? {} : { parameters: [...Object.keys(values), ...secretNames] }),
    ...(versionRef === null ? {} : { versionRef }),
    ...(reason === undefined ? {} : { reason }),
  };
}

/**
 * Returns the credentials that the targets have or inherit, most used first, and those that steps name. The former only
 * by id, since people who may read the job's category needn't know of segments.
 */
export function credentialsUsed(
  definition: Pick<JobDefinition, 'connection' | 'steps'>,
  targets: readonly SelectedRow[],
): { credentials: { id: string; targets: number }[]; namedCredentials: string[] } {
  const asked = definition.steps.map(
    (step) => step.connection?.credential ?? definition.connection?.credential,
  );
  const counts = new Map<string, number>();
  if (asked.includes(undefined)) {
    for (const { credentialId } of targets)
      if (credentialId !== null) counts.set(credentialId, (counts.get(credentialId) ?? 0) + 1);
  }
  const used = [...counts].map(([id, count]) => ({ id, targets: count }));
  return {
    credentials: used.sort((a, b) => b.targets - a.targets).slice(0, maxDetails),
    namedCredentials: [
      ...new Set([...asked, ...definition.steps.map(runAsCredential)].filter((name) => name !== undefined)),
    ],
  };
}
