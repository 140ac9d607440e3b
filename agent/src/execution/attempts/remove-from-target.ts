// Removes what is kept of an attempt on its target: nobody asks for it once the attempt is settled.
import type { Lease } from '@opsconductor/protocol';
import { Masking } from '../../masking/masking.ts';
import type { UsableCredential } from '../secrets/credential-opener.ts';
import { becomeIn } from '../step/execute-step.ts';
import type { KnownStepTypes } from '../step/known-step-types.ts';
import type { Attempt } from './attempt.ts';

/** @throws an error without secrets if the target could not be reached or could not remove it. */
export async function removeFromTarget(
  attempt: Attempt,
  deps: {
    installationId: string;
    stepTypes: KnownStepTypes;
    openCredential(lease: Lease): Promise<UsableCredential>;
  },
): Promise<void> {
  const { lease, completion } = attempt;
  // Another agent continues it.
  if (attempt.taken) return;
  const command = attempt.survivingSince !== undefined;
  // An `unknown` command may still be running there: its file is removed once that is known.
  const outputFile = attempt.hasOutputFile && (command || completion?.outcome.status !== 'unknown');
  if (lease === undefined || !(command || outputFile)) return;
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
