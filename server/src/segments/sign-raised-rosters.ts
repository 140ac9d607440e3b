// After a restore the numbers of managed rosters are raised by a command that has no master key: a server signs them.
import { type Roster, signingPublicKeyOf, signRoster, verifyRoster } from '@opsconductor/protocol/sealing';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import type { Log } from '../log.ts';
import {
  listRaisedSegments,
  lockSegment,
  notifySegmentChanged,
  type SegmentRow,
  storeRoster,
} from '../store/agents/segments.ts';
import type { Sql, Tx } from '../store/database/connection.ts';
import { isDatabaseLost } from '../store/database/database-lost.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { openRoot } from './segment-root.ts';

export interface SigningDeps {
  sql: Sql;
  masterKey: MasterKey;
  installationId: string;
  log: Log;
}

/**
 * Signs the rosters that the root has signed, under their raised numbers; of servers that start at once one does. Before any
 * agent is told of its segment. One that can't be signed is logged and left to the next start.
 */
export async function signRaisedRosters({ sql, log, ...keys }: SigningDeps): Promise<void> {
  for (const { id, name } of await listRaisedSegments(sql)) {
    try {
      await inTransaction(sql, async (tx) => {
        const segment = await lockSegment(tx, id);
        if (segment !== undefined) await signRaised(tx, segment, keys);
      });
    } catch (error) {
      if (isDatabaseLost(error)) throw error;
      log.error(
        { err: error, segment: name },
        'the roster of a segment could not be signed after a restore: its agents may refuse it, and who is enrolled there gets no key. Compare its agents with those that you know; where they are right, “New keys…” of one signs a roster of them. The next start tries this again.',
      );
    }
  }
}

/**
 * Nobody asked for this at a moment of their own, and who can write the database can bring it about. So nothing is signed
 * that the root has not signed before: not what the tables say now, nor by the key that they say the root is.
 */
async function signRaised(
  tx: Tx,
  segment: SegmentRow,
  { masterKey, installationId }: Pick<SigningDeps, 'masterKey' | 'installationId'>,
): Promise<void> {
  const { id, rosterNumber: number, rosterPayload: payload, rosterSignature: signature } = segment;
  if (segment.rootMode !== 'managed' || payload === null || signature === null) return;
  const root = openRoot(masterKey, segment);
  try {
    const expected = { installationId, segmentId: id, minNumber: 0 };
    const rootKey = await signingPublicKeyOf(root);
    const held: Roster = await verifyRoster(rootKey, { payload, signature }, expected);
    if (held.number >= number) return;
    await storeRoster(tx, id, number, await signRoster(root, { ...held, number }));
    await notifySegmentChanged(tx, id);
  } finally {
    root.fill(0);
  }
}
