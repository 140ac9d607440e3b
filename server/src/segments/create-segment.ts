import { type CreateSegmentRequestSchema, limits, type Segment } from '@opsconductor/protocol';
import { decodeBase64, generateSigningKeyPair, publicKeyBytes } from '@opsconductor/protocol/sealing';
import type { Static } from 'typebox';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { AppError } from '../errors.ts';
import { insertSegment, nextSegmentId } from '../store/agents/segments.ts';
import { type Sql, violatedConstraint } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { refuseUnstorableText } from '../validation/storable-text.ts';
import { getSegment } from './list-segments.ts';
import { sealRoot } from './segment-root.ts';

export type CreateSegmentRequest = Static<typeof CreateSegmentRequestSchema>;

/**
 * Creates a segment, with a managed root unless the request names an owner's root.
 * @throws {AppError} `conflict` if the name is taken.
 */
export async function createSegment(
  sql: Sql,
  masterKey: MasterKey,
  request: CreateSegmentRequest,
  caller: Caller,
): Promise<Segment> {
  refuseUnstorableText(request);
  const { ownerRoot } = request;
  const managed = ownerRoot === undefined ? await generateSigningKeyPair() : undefined;
  const rootKey = managed?.publicKey ?? decodeBase64(ownerRoot ?? '', publicKeyBytes, 'ownerRoot');
  try {
    const id = await inTransaction(sql, async (tx) => {
      const id = await nextSegmentId(tx);
      await insertSegment(tx, {
        id,
        name: request.name,
        description: request.description ?? '',
        unknownAfterS: request.unknownAfter ?? limits.unknownAfterMs / 1000,
        rootKey: Buffer.from(rootKey),
        rootKeySealed: managed === undefined ? null : sealRoot(masterKey, id, managed.privateKey),
      });
      await recordAudit(tx, {
        ...auditedBy(caller),
        action: 'segment.created',
        object: { kind: 'segment', id },
        scope: { segmentId: id },
        detail: { name: request.name, root: managed === undefined ? 'owner_held' : 'managed' },
      });
      return id;
    });
    return await getSegment(sql, id, unrestricted);
  } catch (error) {
    if (violatedConstraint(error) === 'segments_name_key') {
      const message = `There is a segment named ${request.name} already; choose another name.`;
      throw new AppError('conflict', message, { cause: error, details: [{ path: 'name', message }] });
    }
    throw error;
  } finally {
    managed?.privateKey.fill(0);
  }
}
