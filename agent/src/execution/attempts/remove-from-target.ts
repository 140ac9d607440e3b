// What is kept of an attempt on its target: nobody will ask for it any more once the attempt is settled.
import type { Lease } from '@opsconductor/protocol';
import type { UsableCredential } from '../secrets/credential-opener.ts';
import { becomeIn } from '../step/execute-step.ts';
import type { KnownStepTypes } from '../step/known-step-types.ts';
import type { Attempt } from './attempt.ts';

/** @throws where the target could not be reached, or does not let go of it. */
export async function removeFromTarget(
  attempt: Attempt,
  deps: {
    installationId: string;
    stepTypes: KnownStepTypes;
    openCredential(lease: Lease): Promise<UsableCredential>;
  },
): Promise<void> {
  const { lease, completion } = attempt;
  // Another agent goes on with it.
  if (attempt.taken) return;
  const command = attempt.survivingSince !== undefined;
  // One that may go on there is cleaned up after once that is known.
  const outputFile = attempt.hasOutputFile && (command || completion?.outcome.status !== 'unknown');
  if (lease === undefined || !(command || outputFile)) return;
  const { credential, target, checkAddresses } = await deps.openCredential(lease);
  const onTarget = {
    marker: attempt.marker(deps.installationId),
    directoryName: attempt.directoryName(deps.installationId),
    target,
    credential,
    ...becomeIn(lease, credential),
    checkAddresses: (addresses: readonly string[]) => checkAddresses(addresses),
  };
  await deps.stepTypes.get(lease.stepType)?.remove?.(onTarget, { command, outputFile }, lease.config);
}
