// The keys that a client seals the secret values of a run to, so that this server never sees them.
import type { RunSealingKeys, TargetSelection } from '@opsconductor/protocol';
import { encodeBase64 } from '@opsconductor/protocol/sealing';
import type { Caller } from '../../caller.ts';
import { AppError } from '../../errors.ts';
import { refuseWhileRotating } from '../../segments/segment-keys/sealing-key.ts';
import type { Sql } from '../../store/database/connection.ts';
import { findSegmentKeysNow } from '../../store/runs/run-values.ts';
import { planStart } from '../start/start-run.ts';

/**
 * Returns the keys of all segments in which the run would have targets.
 *
 * @throws {AppError} as starting that run would; `conflict` if a segment has no key or its key is being replaced.
 */
export async function runSealingKeys(
  deps: { sql: Sql; identity: { installationId: string } },
  request: { jobId: number; selection: TargetSelection; version?: number | string | undefined },
  caller: Caller,
): Promise<RunSealingKeys> {
  const { installationId } = deps.identity;
  const { targets } = await planStart(deps.sql, request, caller);
  const segmentIds = [...new Set(targets.map(({ segmentId }) => segmentId))];
  const segments = await findSegmentKeysNow(deps.sql, segmentIds);
  return {
    installationId,
    jobId: request.jobId,
    segments: segments.map((segment) => {
      const { segmentId, segmentName, generation, publicKey, rootKey, rosterPayload, rosterSignature } =
        segment;
      if (generation === null || publicKey === null || rosterPayload === null || rosterSignature === null) {
        throw new AppError(
          'conflict',
          `Segment “${segmentName}” has no agent yet, so there is no key to seal to. Enroll its first agent.`,
        );
      }
      refuseWhileRotating({ name: segmentName, keyRotationWantedAt: segment.keyRotationWantedAt });
      return {
        installationId,
        segmentId,
        segmentName,
        generation,
        publicKey: encodeBase64(publicKey),
        rootPublicKey: encodeBase64(rootKey),
        roster: { payload: rosterPayload, signature: rosterSignature },
      };
    }),
  };
}
