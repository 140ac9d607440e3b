// After a restore the numbers of managed rosters are raised by a command that has no master key: a server signs them.
import { type Roster, signingPublicKeyOf, signRoster, verifyRoster } from '@opsconductor/protocol/sealing';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import type { Log } from '../log.ts';
import {
  listRaisedSegments,
  lockRaisedSegments,
  type SegmentRow,
  type StoredRoster,
  storeRosters,
} from '../store/agents/segments.ts';
import type { Sql } from '../store/database/connection.ts';
import { isDatabaseLost } from '../store/database/database-lost.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { openRoot } from './segment-root.ts';

export interface SigningDeps {
  sql: Sql;
  masterKey: MasterKey;
  installationId: string;
  log: Log;
}

/** One transaction for so many, however long their rosters are: with one for each, many took longer to write than to sign. */
const perTransaction = 100;

/**
 * Signs the rosters that the root has signed, under their raised numbers; of servers that start at once one does. Before any
 * agent is told of its segment. One that can't be signed is logged and left to the next start.
 */
export async function signRaisedRosters(deps: SigningDeps): Promise<void> {
  const raised = await listRaisedSegments(deps.sql);
  for (let at = 0; at < raised.length; at += perTransaction)
    await signTogether(deps, raised.slice(at, at + perTransaction));
}

type Named = Pick<SegmentRow, 'id' | 'name'>;

async function signTogether(deps: SigningDeps, raised: readonly Named[]): Promise<void> {
  try {
    const unsigned = await inTransaction(deps.sql, async (tx) => {
      const ids = raised.map(({ id }) => id);
      const results = await Promise.all(
        (await lockRaisedSegments(tx, ids)).map((segment) => signRaised(segment, deps)),
      );
      await storeRosters(
        tx,
        results.filter((result) => 'payload' in result),
      );
      return results.filter((result) => 'error' in result);
    });
    for (const { segment, error } of unsigned) tellUnsigned(deps, segment, error);
  } catch (error) {
    if (isDatabaseLost(error)) throw error;
    const [first, ...others] = raised;
    if (others.length > 0) for (const one of raised) await signTogether(deps, [one]);
    else if (first !== undefined) tellUnsigned(deps, first, error);
  }
}

function tellUnsigned({ log }: SigningDeps, { name }: Named, error: unknown): void {
  log.error(
    { err: error, segment: name },
    'the roster of a segment could not be signed after a restore: its agents may refuse it, and who is enrolled there gets no key. Compare its agents with those that you know; where they are right, “New keys…” of one signs a roster of them. The next start tries this again.',
  );
}

type Result = StoredRoster | { segment: Named; error: unknown } | Record<never, never>;

/**
 * Nobody asked for this at a moment of their own, and who can write the database can bring it about. So nothing is signed
 * that the root has not signed before: not what the tables say now, nor by the key that they say the root is.
 */
async function signRaised(segment: SegmentRow, deps: SigningDeps): Promise<Result> {
  const { id, rosterNumber: number, rosterPayload: payload, rosterSignature: signature } = segment;
  if (segment.rootMode !== 'managed' || payload === null || signature === null) return {};
  let root: Buffer | undefined;
  try {
    root = openRoot(deps.masterKey, segment);
    const expected = { installationId: deps.installationId, segmentId: id, minNumber: 0 };
    const rootKey = await signingPublicKeyOf(root);
    const held: Roster = await verifyRoster(rootKey, { payload, signature }, expected);
    if (held.number >= number) return {};
    return { segmentId: id, number, ...(await signRoster(root, { ...held, number })) };
  } catch (error) {
    return { segment, error };
  } finally {
    root?.fill(0);
  }
}
