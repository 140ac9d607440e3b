// Encrypts values of a run with its data key. Each sealed value is bound to its row.
import { aadOf, openAtRest, sealAtRest } from '../../credentials/at-rest/seal-at-rest.ts';

export function sealParameters(dataKey: Buffer, runId: number, values: Record<string, unknown>): Buffer {
  return sealAtRest(dataKey, Buffer.from(JSON.stringify(values)), parametersAad(runId));
}

export function openParameters(
  dataKey: Buffer,
  runId: number,
  sealed: Buffer | null,
): Record<string, unknown> {
  if (sealed === null) return {};
  return JSON.parse(openAtRest(dataKey, sealed, parametersAad(runId)).toString('utf8'));
}

export function sealOutputs(
  dataKey: Buffer,
  step: { stepId: number; epoch: number },
  outputs: Record<string, string>,
): Buffer {
  return sealAtRest(dataKey, Buffer.from(JSON.stringify(outputs)), outputsAad(step));
}

export function openOutputs(
  dataKey: Buffer,
  step: { stepId: number; epoch: number },
  sealed: Buffer | null,
): Record<string, string> {
  if (sealed === null) return {};
  return JSON.parse(openAtRest(dataKey, sealed, outputsAad(step)).toString('utf8'));
}

function parametersAad(runId: number): Uint8Array {
  return aadOf('run-parameters', runId);
}

function outputsAad({ stepId, epoch }: { stepId: number; epoch: number }): Uint8Array {
  return aadOf('step-outputs', stepId, epoch);
}
