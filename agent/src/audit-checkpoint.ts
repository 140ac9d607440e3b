// The newest checkpoint of the server's audit log that this agent has seen. Kept outside the server's reach, it shows
// later whether the log was cut off or the database rolled back. It never goes back by itself.
import type { AgentMessage, ServerMessageOf } from '@opsconductor/protocol';
import {
  CheckpointError,
  provesConsistency,
  type SignedCheckpoint,
  verifyCheckpoint,
} from '@opsconductor/protocol/audit';
import { type Static, Type } from 'typebox';
import { Check } from 'typebox/value';
import { readIfExists, writeDurably } from './identity/durable-file.ts';
import { type Identity, parseJson } from './identity/identity.ts';
import type { Logger } from './log.ts';

type Reason = Extract<AgentMessage, { type: 'audit_checkpoint_refused' }>['reason'];

const FileSchema = Type.Object({
  note: Type.String(),
  /** The last checkpoint that was refused, as evidence. */
  refused: Type.Optional(Type.Object({ reason: Type.String(), at: Type.String(), note: Type.String() })),
});
export type AuditCheckpointFile = Static<typeof FileSchema>;

/** How often the server is told of a repeated refusal. */
const complainMs = 60_000;
/** How often a refusal for the same reason is logged: it lasts until someone has looked into it. */
const logMs = 3_600_000;

export interface AuditCheckpointOptions {
  path: string;
  identity: Pick<Identity, 'installationId' | 'serverKey'>;
  log: Logger;
  now?: () => number;
}

export class AuditCheckpoint {
  readonly #options: AuditCheckpointOptions;
  readonly #now: () => number;
  #held: SignedCheckpoint | undefined;
  /** The file exists and doesn't verify: it is left as it is, and no other checkpoint is accepted. */
  #isDamaged = false;
  #complainedAt = Number.NEGATIVE_INFINITY;
  #logged: { reason: Reason; at: number } | undefined;
  #failureLoggedAt = Number.NEGATIVE_INFINITY;
  #taking: Promise<void> = Promise.resolve();

  private constructor(options: AuditCheckpointOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  static async open(options: AuditCheckpointOptions): Promise<AuditCheckpoint> {
    const checkpoint = new AuditCheckpoint(options);
    const { path, identity, log } = options;
    try {
      const file = await readAuditCheckpoint(path);
      if (file !== undefined)
        checkpoint.#held = await verifyCheckpoint(identity.serverKey, identity.installationId, file.note);
    } catch (error) {
      checkpoint.#isDamaged = true;
      log.error(
        { err: error, path },
        'the stored checkpoint of the audit log is damaged; no other is accepted until this file is moved away and the agent restarted',
      );
    }
    return checkpoint;
  }

  /** Rows that the kept checkpoint covers; 0 if there is none; undefined if none may be accepted. */
  get size(): number | undefined {
    return this.#isDamaged ? undefined : (this.#held?.size ?? 0);
  }

  /** Keeps a checkpoint that continues the kept one; refuses any other and tells the server. Never rejects. */
  take(offer: ServerMessageOf<'audit_checkpoint'>, reply: (message: AgentMessage) => void): Promise<void> {
    this.#taking = this.#taking
      .then(() => this.#take(offer, reply))
      .catch((error) => this.#logFailure(error));
    return this.#taking;
  }

  /** Offers come with heartbeats, and a disk that can't be written may stay so for days. */
  #logFailure(error: unknown): void {
    if (this.#now() - this.#failureLoggedAt < logMs) return;
    this.#failureLoggedAt = this.#now();
    this.#options.log.error(
      { err: error },
      'a checkpoint of the audit log could not be stored; the previous one stays, and a newer one is taken at a later heartbeat',
    );
  }

  async #take(
    offer: ServerMessageOf<'audit_checkpoint'>,
    reply: (message: AgentMessage) => void,
  ): Promise<void> {
    // Made for another checkpoint than the one kept now: the next heartbeat asks again.
    if (offer.from !== this.size) return;
    const judged = await this.#judge(offer);
    if (typeof judged === 'object') {
      if (judged.size === this.#held?.size) return;
      await writeFile(this.#options.path, { note: judged.note });
      this.#failureLoggedAt = Number.NEGATIVE_INFINITY;
      this.#held = judged;
      return;
    }
    if (this.#now() - this.#complainedAt < complainMs) return;
    this.#complainedAt = this.#now();
    const held = this.#held?.note ?? '';
    this.#logRefusal(judged);
    reply({ type: 'audit_checkpoint_refused', reason: judged, held, offered: offer.note });
    const at = new Date(this.#now()).toISOString();
    if (held !== '')
      await writeFile(this.#options.path, { note: held, refused: { reason: judged, at, note: offer.note } });
  }

  #logRefusal(reason: Reason): void {
    const now = this.#now();
    if (this.#logged?.reason === reason && now - this.#logged.at < logMs) return;
    this.#logged = { reason, at: now };
    const { path, log } = this.#options;
    log.error(
      { reason, kept: this.#held?.number, path },
      'refused a checkpoint of the audit log: the server’s log is not the one that this agent saw before; the server was told. If its database was restored from a backup, stop this agent, move this file away and keep it, and start the agent again. Otherwise give this file to npm run audit -- verify --checkpoint on the server, to see what is missing',
    );
  }

  async #judge(offer: ServerMessageOf<'audit_checkpoint'>): Promise<SignedCheckpoint | Reason> {
    const { serverKey, installationId } = this.#options.identity;
    let offered: SignedCheckpoint;
    try {
      offered = await verifyCheckpoint(serverKey, installationId, offer.note);
    } catch (error) {
      if (error instanceof CheckpointError) return error.reason;
      throw error;
    }
    const held = this.#held;
    if (held === undefined || offered.hash.equals(held.hash)) return offered;
    if (offered.size < held.size) return 'lower';
    const proof = offer.proof.map((hash) => Buffer.from(hash, 'base64'));
    const continues =
      offered.number > held.number &&
      offered.size > held.size &&
      provesConsistency(
        { size: held.size, root: held.rootHash },
        { size: offered.size, root: offered.rootHash },
        proof,
      );
    return continues ? offered : 'forked';
  }
}

/**
 * Returns what is kept; undefined if nothing is.
 *
 * @throws if the file is not a valid one.
 */
export async function readAuditCheckpoint(path: string): Promise<AuditCheckpointFile | undefined> {
  const content = await readIfExists(path);
  if (content === undefined) return undefined;
  const value = parseJson(content.toString('utf8'));
  if (!Check(FileSchema, value)) throw new Error(`${path} is damaged`);
  return value;
}

async function writeFile(path: string, file: AuditCheckpointFile): Promise<void> {
  await writeDurably(path, `${JSON.stringify(file, null, 2)}\n`);
}
