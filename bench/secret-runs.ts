// Runs that are given secrets, sealed as any client seals them: all of them are masked in their output.
import { randomUUID } from 'node:crypto';
import type { RunSealingKeys, SecretParameters } from '@opsconductor/protocol';
import { decodeBase64, sealRunValue } from '@opsconductor/protocol/sealing';
import { canaries } from '../agent/src/spool/testing/canaries.ts';
import type { BenchSystem } from './bench-system.ts';

export const secretCount = 50;

export interface SecretJob {
  id: number;
  /** What a start takes: the first target, and the secrets sealed for its segment and this run alone. */
  request(): Promise<{ targetIds: number[]; secretParameters: SecretParameters }>;
}

/** A job of one step, in the environment of which are fifty secrets of the run. */
export async function createSecretJob(system: BenchSystem, command: string): Promise<SecretJob> {
  const values = new Map(
    canaries()
      .slice(0, secretCount)
      .map(({ secret }, n) => [`s${n}`, secret]),
  );
  const names = [...values.keys()];
  const { id } = await system.api<{ id: number }>('POST', '/jobs', {
    name: `bench ${randomUUID()}`,
    parameters: Object.fromEntries(names.map((name) => [name, { type: 'string', secret: true }])),
    steps: [
      {
        name: 'step 1',
        type: 'ssh.exec',
        config: {
          command,
          timeout: 300,
          environment: Object.fromEntries(
            names.map((name) => [name.toUpperCase(), `\${{ parameters.${name} }}`]),
          ),
        },
      },
    ],
  });
  const targetIds = system.targetIds.slice(0, 1);
  return {
    id,
    request: async () => ({ targetIds, secretParameters: await sealed(system, id, targetIds, values) }),
  };
}

async function sealed(
  system: BenchSystem,
  jobId: number,
  targetIds: readonly number[],
  secrets: ReadonlyMap<string, string>,
): Promise<SecretParameters> {
  const keys = await system.api<RunSealingKeys>('POST', `/jobs/${jobId}/sealing-keys`, { targetIds });
  const [segment] = keys.segments;
  if (segment === undefined) throw new Error('no segment to seal for');
  const { installationId, segmentId, generation, publicKey } = segment;
  const id = randomUUID();
  const values: SecretParameters['values'] = {};
  for (const [name, value] of secrets) {
    const binding = { installationId, jobId, id, step: '', name, segmentId, generation };
    const segmentPublicKey = decodeBase64(publicKey);
    values[name] = [{ segmentId, sealed: await sealRunValue({ segmentPublicKey, binding, value }) }];
  }
  return { id, values };
}
