// What changed, who changed it, from where: written in the transaction of the change, so that neither exists alone.
import { insertAuditRow } from '../store/audit-log.ts';
import type { Queryable } from '../store/connection.ts';

export type AuditActor =
  | { kind: 'user' | 'agent'; id: number; name: string }
  | { kind: 'system'; name: string }
  /** Someone who isn't signed in; the name is what they claimed, where they did. */
  | { kind: 'anonymous'; name: string };

export interface AuditEntry {
  actor: AuditActor;
  /** `noun.verb` in the past tense: `job.created`. */
  action: string;
  object?: { kind: string; id: string | number };
  /** What a reader of the log needs, never a secret. */
  detail?: Record<string, unknown>;
  /** Where the object lies: readers whose right is on that segment or category see the row. Neither: only auditors of all. */
  scope?: { segmentId?: number; categoryId?: number };
  /** Where it came from; absent for what the server does by itself. */
  origin?: { address: string; requestId: string };
}

const maxNameChars = 200;

/** Writes one audit row. Pass the transaction of the change, so that both commit or none. */
export async function recordAudit(tx: Queryable, entry: AuditEntry): Promise<void> {
  const { actor } = entry;
  await insertAuditRow(tx, {
    actorKind: actor.kind,
    actorId: 'id' in actor ? actor.id : null,
    actorName: actor.name.slice(0, maxNameChars),
    action: entry.action,
    objectKind: entry.object?.kind ?? null,
    objectId: entry.object === undefined ? null : String(entry.object.id),
    detail: entry.detail ?? {},
    address: entry.origin?.address ?? null,
    requestId: entry.origin?.requestId ?? null,
    segmentId: entry.scope?.segmentId ?? null,
    categoryId: entry.scope?.categoryId ?? null,
  });
}

/** The actor of a request. */
export function userActor(principal: { userId: number; name: string }): AuditActor {
  return { kind: 'user', id: principal.userId, name: principal.name };
}
