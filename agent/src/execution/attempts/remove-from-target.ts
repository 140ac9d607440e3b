// Removes what is kept of an attempt on its target: nobody asks for it once the attempt is settled.
import type { Lease } from '@opsconductor/protocol';
import { Masking } from '../../masking/masking.ts';
import type { UsableCredential } from '../secrets/credential-opener.ts';
import { becomeIn } from '../step/execute-step.ts';
import type { KnownStepTypes } from '../step/known-step-types.ts';
import type { Attempt } from './attempt.ts';

/** Returns what an attempt that is over leaves on its target; undefined if that is nothing of ours to remove. */
export function leftOnTarget(
  { lease, taken, completion, survivingSinceMs, hasOutputFile }: Attempt,
  outcome = completion?.outcome,
): { lease: Lease; command: boolean; outputFile: boolean } | undefined {
  // Another agent continues it.
  if (taken || lease === undefined) return undefined;
  const command = survivingSinceMs !== undefined;
  // An `unknown` command may still be running there: its file is removed once that is known.
  const outputFile = hasOutputFile && (command || outcome?.status !== 'unknown');
  return command || outputFile ? { lease, command, outputFile } : undefined;
}

/** @throws an error without secrets if the target could not be reached or could not remove it. */
export async function removeFromTarget(
  attempt: Attempt,
  deps: {
    installationId: string;
    stepTypes: KnownStepTypes;
    openCredential(lease: Lease): Promise<UsableCredential>;
  },
): Promise<void> {
  const left = leftOnTarget(attempt);
  if (left === undefined) return;
  const { lease, command, outputFile } = left;
  const { credential, target, checkAddresses, secrets } = await deps.openCredential(lease);
  const onTarget = {
    marker: attempt.marker(deps.installationId),
    directoryName: attempt.directoryName(deps.installationId),
    target,
    credential,
    ...becomeIn(lease, credential),
    checkAddresses: (addresses: readonly string[]) => checkAddresses(addresses),
  };
  try {
    await deps.stepTypes.get(lease.stepType)?.remove?.(onTarget, { command, outputFile }, lease.config);
  } catch (error) {
    // The target may have printed a secret.
    throw Masking.of(secrets).error(error);
  }
}
