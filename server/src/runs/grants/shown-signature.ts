// Shows readers of a run who signed it.
import type { RunDetail } from '@opsconductor/protocol';
import { readTerms } from '@opsconductor/protocol/grants';
import { decodeBase64, fingerprint } from '@opsconductor/protocol/sealing';
import { unwrapDataKey } from '../../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import type { Sql } from '../../store/database/connection.ts';
import { findRunGrants } from '../../store/runs/run-grants.ts';
import { runKeyContext } from '../run-keys.ts';
import { openGrant } from './grant-at-rest.ts';

/** Returns who signed a run, and until when; undefined for a run that nobody has signed. */
export async function shownSignature(
  { sql, masterKey }: { sql: Sql; masterKey: MasterKey },
  runId: number,
): Promise<RunDetail['signature']> {
  const [row] = await findRunGrants(sql, [runId]);
  if (row?.signedGrant === undefined || row.signedGrant === null) return undefined;
  const dataKey = unwrapDataKey(masterKey, row.dataKey, runKeyContext(row.jobId));
  const terms = readTerms(openGrant(dataKey, runId, row.signedGrant).terms);
  if (terms === undefined) return undefined;
  return { fingerprint: await fingerprint(decodeBase64(terms.signer.key)), signedUntil: terms.expiresAt };
}
