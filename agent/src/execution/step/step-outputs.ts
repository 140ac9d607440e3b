// What a lease says about the outputs of its step.
import type { Lease, StepOutput } from '@opsconductor/protocol';
import type { OutputStream } from '../../steps/step-type.ts';

export function hasOutputFile({ rendering }: Lease): boolean {
  return outputsOf(rendering).some(({ file }) => file === true);
}

/** Whether an output is looked for in what the step prints. */
export function hasPrintedOutputs({ rendering }: Lease): boolean {
  return outputsOf(rendering).some(({ file }) => file !== true);
}

export function hasSecretOutputs({ rendering }: Lease): boolean {
  return outputsOf(rendering).some(({ secret }) => secret === true);
}

/** Returns the streams that a secret output is read from, which are shown to nobody. */
export function heldStreamsOf({ rendering }: Lease): Set<OutputStream> {
  const secret = outputsOf(rendering).filter((output) => output.secret === true && output.file !== true);
  return new Set(secret.map(({ from }) => from ?? 'stdout'));
}

/**
 * Returns the lease as it is written to this agent's disk: what it takes to find the command again. Values of
 * parameters and outputs are left out, except for secrets, which stay sealed.
 */
export function withoutValues(lease: Lease, config: unknown): Lease {
  const { rendering, grant: _granted, ...bare } = lease;
  if (rendering === undefined) return { ...bare, config };
  const { when: _, ...rest } = rendering;
  const values = { ...rest.values, parameters: {}, steps: {} };
  const scope = { ...rest.scope, parameters: {}, steps: {} };
  return { ...bare, config, rendering: { ...rest, values, scope } };
}

/** Returns the part of a lease that is needed to remove the step's files from its target. The credential stays sealed. */
export function toRemoveFiles({ rendering: _, grant: __, config, ...bare }: Lease): Lease {
  const { become } = Object(config) as { become?: unknown };
  return { ...bare, config: become === undefined ? {} : { become } };
}

function outputsOf(rendering: Lease['rendering']): StepOutput[] {
  return Object.values(rendering?.outputs ?? {});
}
