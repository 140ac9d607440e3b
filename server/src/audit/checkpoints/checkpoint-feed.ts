// Hands the newest checkpoint to agents, with the proof that it only adds to the one they hold, and records checkpoints
// that an agent refused: these mean a database that was rolled back, or a log that was rewritten.

import type { AgentMessageOf, ServerMessageOf } from '@opsconductor/protocol';
import { CheckpointError, readCheckpoint, verifyCheckpoint } from '@opsconductor/protocol/audit';
import type { Log } from '../../log.ts';
import { type CheckpointRow, latestCheckpoint } from '../../store/audit/audit-seals.ts';
import type { Sql } from '../../store/database/connection.ts';
import { recordAudit } from '../record-audit.ts';
import { consistencyProof, TreeDamaged } from '../tree-reader.ts';

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
  /** Number of rows that the checkpoint covers. */
  size: number;
  message: ServerMessageOf<'audit_checkpoint'>;
}
type Refusal = AgentMessageOf<'audit_checkpoint_refused'>;

/** The newest checkpoint is read at most this often. */
const freshMs = 1_000;
const maxProofs = 256;
/** An agent that holds a longer log than the server would otherwise report it again and again. */
const complainMs = 3_600_000;
/**
 * A failed write to the database is retried only after this time; otherwise every heartbeat of every agent would try
 * again.
 */
const retryMs = 30_000;

export class CheckpointFeed {
  readonly #deps: FeedDeps;
  #latest: { at: number; row: Promise<CheckpointRow | undefined> } | undefined;
  /** Proofs to the newest checkpoint, keyed by the size that an agent holds. */
  #proofs = new Map<number, Promise<Offer | undefined>>();
  #proofsOf = 0;
  readonly #complainedAt = new Map<number, number>();
  #loggedNoneAt = Number.NEGATIVE_INFINITY;
  #auditedNoneAt = Number.NEGATIVE_INFINITY;

  constructor(deps: FeedDeps) {
    this.#deps = deps;
  }

  /**
   * Returns what to send to an agent that holds a checkpoint of this size; 'has newest' if that is the newest,
   * undefined if there is none or none can be read. An agent that is ahead is sent the newest anyway: it refuses that,
   * and reports it. An agent with the same size is sent it once too, because a log that was truncated and grew to the
   * same size again is a different one. If there is no checkpoint but the agent holds one, the log was emptied: that is
   * recorded, and the record is sealed and offered.
   * @param givenSize size of the last checkpoint that was sent on the agent's connection.
   */
  async offer(agent: Agent, heldSize: number, givenSize?: number): Promise<Offer | 'has newest' | undefined> {
    try {
      const latest = await this.#newest(heldSize);
      if (latest === undefined && heldSize > 0) await this.#tellOfNone(agent, heldSize);
      if (latest === undefined) return undefined;
      if (latest.size === heldSize && givenSize === heldSize) return 'has newest';
      if (this.#proofsOf !== latest.size || this.#proofs.size > maxProofs) this.#proofs = new Map();
      this.#proofsOf = latest.size;
      return await (this.#proofs.get(heldSize) ?? this.#keepProof(latest, heldSize));
    } catch (error) {
      this.#deps.log.warn(
        { err: error, agent: agent.name },
        'a checkpoint of the audit log could not be offered to an agent; it is offered at a later heartbeat',
      );
      return undefined;
    }
  }

  /** Records that an agent refused a checkpoint; once an hour per agent. */
  async refused(agent: Agent, refusal: Refusal): Promise<void> {
    const { log, sql } = this.#deps;
    const isRecent = performance.now() - (this.#complainedAt.get(agent.agentId) ?? -complainMs) < complainMs;
    if (isRecent) return;
    this.#complainedAt.set(agent.agentId, performance.now());
    const held = await this.#describe(refusal.held);
    const offered = await this.#describe(refusal.offered);
    log.error(
      { agent: agent.name, reason: refusal.reason, held, offered },
      'an agent refused a checkpoint of the audit log: the log is not the one that it saw before; verify it with npm run audit -- verify',
    );
    await recordAudit(sql, {
      actor: { kind: 'agent', id: agent.agentId, name: agent.name },
      action: 'audit.checkpoint_refused',
      detail: { reason: refusal.reason, held, offered },
    }).catch((error) =>
      log.error(
        { err: error, agent: agent.name },
        'the refusal of a checkpoint could not be written to the audit log',
      ),
    );
  }

  /** Once an hour, whichever agent says it: what an agent holds is only its claim until it has refused another one. */
  async #tellOfNone({ agentId, name }: Agent, heldSize: number): Promise<void> {
    const now = performance.now();
    if (now - this.#loggedNoneAt >= complainMs) {
      this.#loggedNoneAt = now;
      this.#deps.log.error(
        { agent: name, held: heldSize },
        'an agent holds a checkpoint of the audit log, but there is none here: the log was emptied or rolled back; verify it with npm run audit -- verify',
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

  /** A proof that could not be read is not kept, so that it is read again for the next heartbeat. */
  #keepProof(latest: CheckpointRow, heldSize: number): Promise<Offer | undefined> {
    const proofs = this.#proofs;
    const proof = this.#prove(latest, heldSize);
    proofs.set(heldSize, proof);
    proof.catch(() => proofs.delete(heldSize));
    return proof;
  }

  async #prove(latest: CheckpointRow, heldSize: number): Promise<Offer | undefined> {
    try {
      const proof =
        heldSize < latest.size ? await consistencyProof(this.#deps.sql, heldSize, latest.size) : [];
      return offerOf(latest, heldSize, proof);
    } catch (error) {
      if (!(error instanceof TreeDamaged)) throw error;
      // The agent refuses an unproven checkpoint and reports it: the log is damaged.
      this.#deps.log.error(
        { err: error },
        'the audit log is damaged: it can not be proven to continue what agents have seen, and they will refuse it; verify it with npm run audit -- verify',
      );
      return offerOf(latest, heldSize, []);
    }
  }

  /**
   * Another server may have sealed since, so an agent that seems to be ahead proves nothing before the newest is read
   * again.
   */
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
