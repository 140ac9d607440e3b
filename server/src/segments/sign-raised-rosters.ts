// After a restore, a command that has no master key raises the numbers of managed rosters; a server then signs them.
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

/**
 * Segments per transaction, however long their rosters are: with one transaction each, writing many took longer than
 * signing them.
 */
const perTransaction = 100;

/**
 * Signs rosters that the root had already signed, now with their raised numbers. If several servers start at once, one
 * does it. It must run before any agent is told the state of its segment. A roster that can't be signed is logged and
 * left to the next start.
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
    'the roster of a segment could not be signed after a restore: its agents may refuse the old one, and newly enrolled agents get no segment key; the next start retries this; or check that its agents are the ones that you know, and use New keys… of one of them, which signs a roster of them all',
  );
}

type Result = StoredRoster | { segment: Named; error: unknown } | Record<never, never>;

/**
 * Nobody explicitly requested this signature, and anyone who can write to the database can trigger it. So only what the
 * root has signed before is signed: not what the tables say now, and not with the key that they name as the root.
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
