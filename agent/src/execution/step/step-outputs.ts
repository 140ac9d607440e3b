// What of a lease says how its step hands values on.
import type { Lease, StepOutput } from '@opsconductor/protocol';
import type { OutputStream } from '../../steps/step-type.ts';

export function hasOutputFile({ rendering }: Lease): boolean {
  return outputsOf(rendering).some(({ file }) => file === true);
}

export function hasSecretOutputs({ rendering }: Lease): boolean {
  return outputsOf(rendering).some(({ secret }) => secret === true);
}

/** Streams that a secret output is read from: they are shown to nobody. */
export function heldStreamsOf({ rendering }: Lease): Set<OutputStream> {
  const secret = outputsOf(rendering).filter((output) => output.secret === true && output.file !== true);
  return new Set(secret.map(({ from }) => from ?? 'stdout'));
}

/** The lease as it is written to this agent's disk: what finding its command again takes, and no value in the clear. */
export function withoutValues(lease: Lease, config: unknown): Lease {
  const { rendering, grant: _granted, ...bare } = lease;
  if (rendering === undefined) return { ...bare, config };
  const { when: _, ...rest } = rendering;
  const values = { ...rest.values, parameters: {}, steps: {} };
  const scope = { ...rest.scope, parameters: {}, steps: {} };
  return { ...bare, config, rendering: { ...rest, values, scope } };
}

function outputsOf(rendering: Lease['rendering']): StepOutput[] {
  return Object.values(rendering?.outputs ?? {});
}
