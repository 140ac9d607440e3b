// After a restore the numbers of managed rosters are raised by a command that has no master key: a server signs them.
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { listRaisedSegments, lockSegment } from '../store/agents/segments.ts';
import type { Sql } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { publishRoster } from './publish-roster.ts';

/** Signs what is in the database now; of servers that start at once one does. Before any agent is told of its segment. */
export async function signRaisedRosters(deps: {
  sql: Sql;
  masterKey: MasterKey;
  installationId: string;
}): Promise<void> {
  const { sql, masterKey, installationId } = deps;
  for (const id of await listRaisedSegments(sql)) {
    await inTransaction(sql, async (tx) => {
      const segment = await lockSegment(tx, id);
      const isRaised = (await listRaisedSegments(tx)).includes(id);
      if (segment !== undefined && isRaised) await publishRoster(tx, { segment, installationId, masterKey });
    });
  }
}
