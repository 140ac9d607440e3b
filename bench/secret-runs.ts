// Runs with secrets, sealed the way any client seals them. All of them are masked in the output of every step, whether
// or not the step uses them.
import { randomUUID } from 'node:crypto';
import type { RunSealingKeys, SecretParameters } from '@opsconductor/protocol';
import { decodeBase64, sealRunValue } from '@opsconductor/protocol/sealing';
import { canaries } from '../agent/src/masking/testing/canaries.ts';
import type { BenchSystem } from './bench-system.ts';

export const secretCount = 50;

export interface SecretJob {
  id: number;
  /**
   * Returns a start request: for these targets (by default the first), with secrets sealed for their segment and this
   * run.
   */
  request(targetIds?: number[]): Promise<SecretStart>;
}

export interface SecretStart {
  targetIds: number[];
  secretParameters: SecretParameters;
}

const values: ReadonlyMap<string, string> = new Map(
  canaries()
    .slice(0, secretCount)
    .map(({ secret }, n) => [`s${n}`, secret]),
);
const names = [...values.keys()];

/** Steps as in a job's definition, but without names. */
export type StepsOfSecretJob = readonly { type: string; config: object }[];

/** A command that has all the secrets in its environment. */
export function commandWithSecrets(command: string): StepsOfSecretJob {
  const environment = Object.fromEntries(
    names.map((name) => [name.toUpperCase(), `\${{ parameters.${name} }}`]),
  );
  return [{ type: 'ssh.exec', config: { command, timeout: 300, environment } }];
}

/** Commands like those of `createJob`, which use no secrets. */
export function plainCommands(command: string, count = 1): StepsOfSecretJob {
  return Array.from({ length: count }, () => ({ type: 'ssh.exec', config: { command, timeout: 300 } }));
}

export async function createSecretJob(system: BenchSystem, steps: StepsOfSecretJob): Promise<SecretJob> {
  const { id } = await system.api<{ id: number }>('POST', '/jobs', {
    name: `bench ${randomUUID()}`,
    parameters: Object.fromEntries(names.map((name) => [name, { type: 'string', secret: true }])),
    steps: steps.map((step, n) => ({ name: `step ${n + 1}`, ...step })),
  });
  return {
    id,
    request: async (targetIds = system.targetIds.slice(0, 1)) => ({
      targetIds,
      secretParameters: await sealed(system, id, targetIds),
    }),
  };
}

async function sealed(
  system: BenchSystem,
  jobId: number,
  targetIds: readonly number[],
): Promise<SecretParameters> {
  const keys = await system.api<RunSealingKeys>('POST', `/jobs/${jobId}/sealing-keys`, { targetIds });
  const [segment] = keys.segments;
  if (segment === undefined) throw new Error('no segment to seal for');
  const { installationId, segmentId, generation, publicKey } = segment;
  const id = randomUUID();
  const seals: SecretParameters['values'] = {};
  for (const [name, value] of values) {
    const binding = { installationId, jobId, id, step: '', name, segmentId, generation };
    const segmentPublicKey = decodeBase64(publicKey);
    seals[name] = [{ segmentId, sealed: await sealRunValue({ segmentPublicKey, binding, value }) }];
  }
  return { id, values: seals };
}
