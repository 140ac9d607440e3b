// Hands the newest checkpoint to agents, with the proof that it only adds to the one they hold; and hears of those
// that an agent refused: a database that was rolled back, or a log that was rewritten.

import type { AgentMessageOf, ServerMessageOf } from '@opsconductor/protocol';
import { CheckpointError, readCheckpoint, verifyCheckpoint } from '@opsconductor/protocol/audit';
import type { Log } from '../log.ts';
import { type CheckpointRow, latestCheckpoint } from '../store/audit/audit-seals.ts';
import type { Sql } from '../store/database/connection.ts';
import { recordAudit } from './record-audit.ts';
import { consistencyProof, TreeDamaged } from './tree-reader.ts';

export interface FeedDeps {
  sql: Sql;
  installation: { installationId: string; serverKey: { publicKey: Uint8Array } };
  log: Log;
}

interface Agent {
  agentId: number;
  name: string;
  segmentId: number;
}

interface Offer {
  /** Rows that the checkpoint covers. */
  size: number;
  message: ServerMessageOf<'audit_checkpoint'>;
}
type Refusal = AgentMessageOf<'audit_checkpoint_refused'>;

/** The newest checkpoint is asked for no more often than this. */
const freshMs = 1_000;
const maxProofs = 256;
/** An agent that holds a longer log than there is says so again and again. */
const complainMs = 3_600_000;
/** What the database did not take is tried again this much later: each heartbeat of each agent would be another try. */
const retryMs = 30_000;

export class CheckpointFeed {
  readonly #deps: FeedDeps;
  #latest: { at: number; row: Promise<CheckpointRow | undefined> } | undefined;
  /** Of the newest checkpoint: by the size that an agent holds. */
  #proofs = new Map<number, Promise<Offer | undefined>>();
  #proofsOf = 0;
  readonly #complainedAt = new Map<number, number>();
  #loggedNoneAt = Number.NEGATIVE_INFINITY;
  #auditedNoneAt = Number.NEGATIVE_INFINITY;

  constructor(deps: FeedDeps) {
    this.#deps = deps;
  }

  /**
   * What an agent that holds the checkpoint of this size is to be sent; 'has newest' where that is the newest, undefined where
   * there is none, or none can be had. One that is ahead gets the newest all the same: it refuses that, and tells. So does one that holds as many rows, once: a log that was
   * cut off and has grown to the same length since is another. Where there is none for who holds one, the log was emptied:
   * that is written down, and what is written is sealed and offered.
   *
   * @param givenSize of the last one that it was sent on its connection.
   */
  async offer(agent: Agent, heldSize: number, givenSize?: number): Promise<Offer | 'has newest' | undefined> {
    try {
      const latest = await this.#newest(heldSize);
      if (latest === undefined && heldSize > 0) await this.#tellOfNone(agent, heldSize);
      if (latest === undefined) return undefined;
      if (latest.size === heldSize && givenSize === heldSize) return 'has newest';
      if (this.#proofsOf !== latest.size || this.#proofs.size > maxProofs) this.#proofs = new Map();
      this.#proofsOf = latest.size;
      const known = this.#proofs.get(heldSize) ?? this.#prove(latest, heldSize);
      this.#proofs.set(heldSize, known);
      return await known;
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'no checkpoint of the audit log could be offered to an agent');
      return undefined;
    }
  }

  /** Writes down that an agent refused a checkpoint; once an hour for each agent. */
  async refused(agent: Agent, refusal: Refusal): Promise<void> {
    const { log, sql } = this.#deps;
    const isRecent = performance.now() - (this.#complainedAt.get(agent.agentId) ?? -complainMs) < complainMs;
    if (isRecent) return;
    this.#complainedAt.set(agent.agentId, performance.now());
    const held = await this.#describe(refusal.held);
    const offered = await this.#describe(refusal.offered);
    log.error(
      { agent: agent.name, reason: refusal.reason, held, offered },
      'an agent refused a checkpoint of the audit log: the log is not the one that it saw before',
    );
    await recordAudit(sql, {
      actor: { kind: 'agent', id: agent.agentId, name: agent.name },
      action: 'audit.checkpoint_refused',
      detail: { reason: refusal.reason, held, offered },
    }).catch((error) => log.error({ err: error }, 'a refused checkpoint could not be audited'));
  }

  /** Once an hour, whoever says it: what an agent holds is its claim until it has refused another. */
  async #tellOfNone({ agentId, name }: Agent, heldSize: number): Promise<void> {
    const now = performance.now();
    if (now - this.#loggedNoneAt >= complainMs) {
      this.#loggedNoneAt = now;
      this.#deps.log.error(
        { agent: name, held: heldSize },
        'an agent holds a checkpoint of the audit log, and there is none here: the log was emptied or rolled back',
      );
    }
    if (now - this.#auditedNoneAt < complainMs) return;
    this.#auditedNoneAt = now;
    await recordAudit(this.#deps.sql, {
      actor: { kind: 'agent', id: agentId, name },
      action: 'audit.checkpoint_refused',
      detail: { reason: 'lower', held: { size: heldSize }, offered: { size: 0 } },
    }).catch((error) => {
      this.#auditedNoneAt = now - complainMs + retryMs;
      throw error;
    });
  }

  async #prove(latest: CheckpointRow, heldSize: number): Promise<Offer | undefined> {
    try {
      const proof =
        heldSize < latest.size ? await consistencyProof(this.#deps.sql, heldSize, latest.size) : [];
      return offerOf(latest, heldSize, proof);
    } catch (error) {
      if (!(error instanceof TreeDamaged)) throw error;
      // The agent refuses what is not proven, and says so: the log is damaged.
      this.#deps.log.error({ err: error }, 'the audit log can not be shown to be unbroken');
      return offerOf(latest, heldSize, []);
    }
  }

  /** Another server may have sealed since: an agent that is ahead of what is known here is no proof of anything yet. */
  async #newest(heldSize: number): Promise<CheckpointRow | undefined> {
    if (this.#latest === undefined || performance.now() - this.#latest.at >= freshMs) this.#ask();
    const latest = await this.#latest?.row;
    if (heldSize <= (latest?.size ?? 0)) return latest;
    this.#ask();
    return this.#latest?.row;
  }

  #ask(): void {
    const row = latestCheckpoint(this.#deps.sql);
    this.#latest = { at: performance.now(), row };
    row.catch(() => {
      this.#latest = undefined;
    });
  }

  async #describe(note: string): Promise<object> {
    const { installationId, serverKey } = this.#deps.installation;
    try {
      const { number, size, sealedAt } = readCheckpoint(note);
      const isSigned = await verifyCheckpoint(serverKey.publicKey, installationId, note).then(
        () => true,
        () => false,
      );
      return { number, size, sealedAt, isSigned };
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      return { isSigned: false };
    }
  }
}

function offerOf({ size, note }: CheckpointRow, from: number, proof: readonly Buffer[]): Offer {
  return {
    size,
    message: { type: 'audit_checkpoint', from, note, proof: proof.map((hash) => hash.toString('base64')) },
  };
}
