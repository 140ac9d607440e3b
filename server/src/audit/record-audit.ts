// Records what changed, who changed it, and from where, in the transaction of the change, so that neither exists
// without the other.
import { insertAuditRow, type NewAuditRow } from '../store/audit/audit-log.ts';
import type { Queryable } from '../store/database/connection.ts';
import { waitWithCommit } from '../store/database/transaction.ts';

export type AuditActor =
  | { kind: 'agent'; id: number; name: string }
  /** `tokenName`: the API token that they used, if any. */
  | { kind: 'user'; id: number; name: string; tokenName?: string }
  | { kind: 'system'; name: string }
  /** Someone who isn't signed in; the name is the one they claimed, if any. */
  | { kind: 'anonymous'; name: string };

export interface AuditEntry {
  actor: AuditActor;
  /** `noun.verb` in the past tense: `job.created`. */
  action: string;
  object?: { kind: string; id: string | number };
  /** What a reader of the log needs; never a secret. */
  detail?: Record<string, unknown>;
  /**
   * Where the object lies: readers with a right on that segment or category see the row. Without either, only readers
   * of the whole log see it.
   */
  scope?: { segmentId?: number; categoryId?: number };
  /** Where it came from; absent for what the server does by itself. */
  origin?: { address: string; requestId: string };
}

const maxNameChars = 200;

/** Writes one audit row. Pass the transaction of the change, so that both commit or neither does. */
export async function recordAudit(tx: Queryable, entry: AuditEntry): Promise<void> {
  await waitWithCommit(tx, insertAuditRow(tx, rowOf(entry)));
}

/** Returns the row as it is stored. */
export function rowOf(entry: AuditEntry): NewAuditRow {
  const { actor } = entry;
  return {
    actorKind: actor.kind,
    actorId: 'id' in actor ? actor.id : null,
    actorName: actor.name.slice(0, maxNameChars),
    action: entry.action,
    objectKind: entry.object?.kind ?? null,
    objectId: entry.object === undefined ? null : String(entry.object.id),
    detail: { ...entry.detail, ...apiTokenOf(actor) },
    address: entry.origin?.address ?? null,
    requestId: entry.origin?.requestId ?? null,
    segmentId: entry.scope?.segmentId ?? null,
    categoryId: entry.scope?.categoryId ?? null,
  };
}

/** Returns the actor of a request. */
export function userActor(principal: { userId: number; name: string; tokenName?: string }): AuditActor {
  const { userId, name, tokenName } = principal;
  return { kind: 'user', id: userId, name, ...(tokenName === undefined ? {} : { tokenName }) };
}

function apiTokenOf(actor: AuditActor): { apiToken?: string } {
  return 'tokenName' in actor && actor.tokenName !== undefined ? { apiToken: actor.tokenName } : {};
}
