// Makes sure that a start which is repeated with the same Idempotency-Key, because its answer was lost, doesn't make a
// second run (draft-ietf-httpapi-idempotency-key-header).
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { canonicalJson } from '@opsconductor/protocol';
import type { Caller } from '../../caller.ts';
import { unwrapDataKey } from '../../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { AppError, invalidField, notFound } from '../../errors.ts';
import type { Sql } from '../../store/database/connection.ts';
import { findRequestedRun, type RequestedRun } from '../../store/runs/run-requests.ts';
import { runKeyContext } from '../run-keys.ts';
import { seeRun } from '../view/seen-run.ts';
import type { Started } from './start-run.ts';

export const requestKeyHeader = 'Idempotency-Key';
/** Visible ASCII characters, in quotes as in the draft or without. */
const keyForm = /^"?([\x21\x23-\x7e]{16,255})"?$/;

export interface RequestKey {
  /** Hash of the caller's id and their key. */
  key: Buffer;
  /** The request as JSON, with its properties in the order in which they were sent. */
  asked: string;
}

/**
 * Returns the key of a request to start a run with what it asks for, or `undefined` if the header is missing.
 *
 * @throws {AppError} `invalid` unless the key has 16 to 255 visible characters.
 */
export function requestKeyOf(
  given: string | undefined,
  { userId }: Pick<Caller, 'userId'>,
  asked: readonly unknown[],
): RequestKey | undefined {
  if (given === undefined) return undefined;
  const key = keyForm.exec(given.trim())?.[1];
  if (key === undefined) {
    throw invalidField(requestKeyHeader, 'This is not a valid key.', {
      found: given.slice(0, 300),
      allowed: '16 to 255 visible ASCII characters without quotes in them, such as a UUID',
    });
  }
  return {
    key: createHash('sha256').update(`${userId} ${key}`).digest(),
    asked: JSON.stringify(asked),
  };
}

/**
 * Returns digests of the request, keyed with the data key of the run that it made: as it was sent, which servers of the
 * version before compare, and of its content, whatever the order of its properties.
 */
export function requestDigests(
  dataKey: Uint8Array,
  { asked }: RequestKey,
): { digest: Buffer; contentDigest: Buffer } {
  const digestOf = (text: string) => createHmac('sha256', dataKey).update('request ').update(text).digest();
  return { digest: digestOf(asked), contentDigest: digestOf(canonicalJson(JSON.parse(asked))) };
}

/** A run that a server of the version before has started has no digest of its request's content. */
function isSameRequest(found: RequestedRun, dataKey: Uint8Array, requested: RequestKey): boolean {
  const { digest, contentDigest } = requestDigests(dataKey, requested);
  return found.contentDigest === null
    ? timingSafeEqual(found.digest, digest)
    : timingSafeEqual(found.contentDigest, contentDigest);
}

/**
 * Starts a run, unless a request with this key has already made one: then that run is the answer.
 *
 * @throws {AppError} as `start` does; `conflict` if the key was used for a different request; `not_found` if the caller
 * no longer sees the whole earlier run.
 */
export async function startOnce<T>(
  deps: { sql: Sql; masterKey: MasterKey },
  requested: RequestKey | undefined,
  caller: Caller,
  start: () => Promise<Started<T>>,
): Promise<Started<T> & { isRepeated: boolean }> {
  const earlier = requested === undefined ? undefined : await startedBy(deps, requested, caller);
  if (earlier !== undefined) return earlier;
  try {
    return { ...(await start()), isRepeated: false };
  } catch (error) {
    // The same request may have been sent twice at once, to this server or to two. If the other one has committed, this
    // one may have failed for many reasons: its grant is used, or its run exists.
    const other = requested === undefined ? undefined : await startedBy(deps, requested, caller);
    if (other === undefined) throw error;
    return other;
  }
}

async function startedBy(
  { sql, masterKey }: { sql: Sql; masterKey: MasterKey },
  requested: RequestKey,
  caller: Caller,
): Promise<(Omit<Started, 'read'> & { isRepeated: true }) | undefined> {
  const found = await findRequestedRun(sql, requested.key);
  if (found === undefined) return undefined;
  const { runId, jobId } = found;
  const { isWhole } = await seeRun(sql, runId, caller.authority);
  // A caller sees the whole run that they start. If they don't, they have lost rights since and don't get the answer.
  if (!isWhole) throw notFound(`Run ${runId}`);
  const dataKey = unwrapDataKey(masterKey, found.dataKey, runKeyContext(jobId));
  if (!isSameRequest(found, dataKey, requested)) {
    throw new AppError(
      'conflict',
      `This ${requestKeyHeader} was used to start run ${runId}, with another request: give each start a key of its own.`,
    );
  }
  const news = { runs: [], segments: [], cancel: [] };
  return { runId, news, isRepeated: true };
}
