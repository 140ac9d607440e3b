// Seals the secret values of a run to each segment in which it has targets. The client does it, or this server if a
// value arrives unsealed; then it exists only in this process's memory, until it is sealed.
import { randomUUID } from 'node:crypto';
import type { ErrorDetail, SecretParameters } from '@opsconductor/protocol';
import { sealRunValue } from '@opsconductor/protocol/sealing';
import { AppError } from '../../errors.ts';
import { refuseWhileRotating } from '../../segments/segment-keys/sealing-key.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { findSegmentKeysNow, type SealedRunSecret, type SegmentKeyNow } from '../../store/runs/run-values.ts';

export interface SealedSecrets {
  id: string;
  secrets: SealedRunSecret[];
}

export interface SecretsToSeal {
  installationId: string;
  jobId: number;
  segmentIds: readonly number[];
  /** Values that arrived unsealed, by name. */
  plain: ReadonlyMap<string, string>;
  sealed?: SecretParameters | undefined;
}

/**
 * Returns the run's secrets sealed to each of its segments, or `undefined` if it has none.
 *
 * @throws {AppError} `invalid` if a value isn't sealed to every segment of the run, or is sealed to another generation
 * of a segment's key; `conflict` while a segment's key is being replaced, or if a segment has no key to seal to.
 */
export async function sealSecrets(db: Queryable, wanted: SecretsToSeal): Promise<SealedSecrets | undefined> {
  const { plain, sealed } = wanted;
  const names = Object.keys(sealed?.values ?? {});
  if (plain.size + names.length === 0) return undefined;
  const segments = await findSegmentKeysNow(db, wanted.segmentIds);
  for (const { segmentName, keyRotationWantedAt } of segments)
    refuseWhileRotating({ name: segmentName, keyRotationWantedAt });
  const id = sealed?.id ?? randomUUID();
  const secrets: SealedRunSecret[] = [];
  const problems: ErrorDetail[] = [];
  for (const segment of segments) {
    for (const name of names) {
      const one = sealed?.values[name]?.find(({ segmentId }) => segmentId === segment.segmentId);
      if (one !== undefined && one.sealed.generation === segment.generation) {
        secrets.push({ segmentId: segment.segmentId, name, sealed: one.sealed });
        continue;
      }
      problems.push({
        path: `secretParameters.values.${name}`,
        message:
          one === undefined
            ? `It is not sealed to segment “${segment.segmentName}”, which the run has targets in.`
            : `It is sealed to generation ${one.sealed.generation} of the key of segment “${segment.segmentName}”, which is at ${segment.generation}.`,
        allowed: 'a seal for each segment that POST /api/v1/jobs/:id/sealing-keys names',
      });
    }
  }
  const [first] = problems;
  if (first !== undefined) {
    throw new AppError('invalid', `${first.path}: ${first.message}`, { details: problems.slice(0, 50) });
  }
  for (const segment of segments) secrets.push(...(await sealPlain(wanted, id, segment)));
  return { id, secrets };
}

async function sealPlain(
  { installationId, jobId, plain }: SecretsToSeal,
  id: string,
  { segmentId, segmentName, generation, publicKey }: SegmentKeyNow,
): Promise<SealedRunSecret[]> {
  if (plain.size === 0) return [];
  if (generation === null || publicKey === null) {
    const message = `Segment “${segmentName}” has no agent yet, so there is no key to seal secrets to. Enroll its first agent.`;
    throw new AppError('conflict', message);
  }
  return Promise.all(
    [...plain].map(async ([name, value]) => {
      const binding = { installationId, jobId, id, step: '', name, segmentId, generation };
      return { segmentId, name, sealed: await sealRunValue({ segmentPublicKey: publicKey, binding, value }) };
    }),
  );
}
