// The handshake: server → challenge, agent → authenticate, server → welcome, agent → resume, server → resumed.

import { type Static, Type } from 'typebox';
import { Id } from '../api/schema-parts.ts';
import { limits } from '../limits.ts';
import { Bytes32, Signature } from './encodings.ts';
import { attempt, Count, Epoch, Generation, message, Seq } from './message-parts.ts';

export const ChallengeSchema = message('challenge', {
  serverNonce: Bytes32,
  installationId: Type.String({ maxLength: 64 }),
  serverId: Type.String({ maxLength: 64 }),
  versions: Type.Array(Type.Integer(), { minItems: 1, maxItems: 16 }),
});
export const AuthenticateSchema = message('authenticate', {
  agentId: Id,
  segmentId: Id,
  agentNonce: Bytes32,
  versions: Type.Array(Type.Integer(), { minItems: 1, maxItems: 16 }),
  chosenVersion: Type.Integer(),
  /** Made with the agent's Ed25519 key over the handshake transcript, in the agent's role. */
  signature: Signature,
  /** The newest connect generation that this agent holds, with the server's signature on it. */
  generation: Count(),
  generationSignature: Signature,
});
export const WelcomeSchema = message('welcome', {
  chosenVersion: Type.Integer(),
  /** Made with the server's Ed25519 key over the same transcript, in the server's role. */
  signature: Signature,
  sessionNumber: Type.Integer({ minimum: 1 }),
  generation: Type.Integer({ minimum: 1 }),
  generationSignature: Signature,
  /** A timer of Node.js fires at once for more than this. */
  heartbeatIntervalMs: Type.Integer({ minimum: 100, maximum: 2_147_483_647 }),
  leaseTtlMs: Type.Integer({ minimum: 500, maximum: 2_147_483_647 }),
  /** From `serverCapabilities`, or a later version's. */
  capabilities: Type.Optional(
    Type.Array(Type.String({ maxLength: 64 }), { maxItems: limits.maxAgentCapabilities }),
  ),
  /** The reasons that a completion may give; the agent translates all others into these. */
  stepReasons: Type.Optional(Type.Array(Type.String({ maxLength: 64 }), { maxItems: limits.maxStepReasons })),
});

/** One attempt in the agent's journal. */
export const JournalAttemptSchema = Type.Object({
  ...attempt,
  /**
   * - `leased`: delivered, not begun.
   * - `running`: begun, still going on.
   * - `finished`: its outcome is known and will be sent as a completion.
   * - `interrupted`: begun by an agent process that is gone, so the result is unknown.
   */
  state: Type.Enum(['leased', 'running', 'finished', 'interrupted']),
  /** Chunks in the spool: of 1..lastSeq, all that were not acknowledged are still there. */
  lastSeq: Seq(0),
  /** Its command survives its agent. */
  survives: Type.Optional(Type.Boolean()),
});
export type JournalAttempt = Static<typeof JournalAttemptSchema>;
export const ResumeSchema = message('resume', {
  /** Confirms that the generation from `welcome` is safely on disk. */
  generation: Count(1),
  slots: Type.Integer({ minimum: 1, maximum: limits.maxSlots }),
  agentVersion: Type.String({ maxLength: 64 }),
  platform: Type.String({ maxLength: 64 }),
  hostname: Type.Optional(Type.String({ maxLength: 253 })),
  draining: Type.Boolean(),
  /** `false` if the journal was lost or damaged: then an attempt's absence proves nothing. */
  journalIntact: Type.Boolean(),
  /**
   * Identifies the loss. It stays the same until a server has heard of it, so that later leases are not counted as
   * lost.
   */
  journalLoss: Type.Optional(Type.String({ maxLength: 64 })),
  attempts: Type.Array(JournalAttemptSchema, { maxItems: limits.maxHeldAttemptsPerHeartbeat }),
  /** Highest roster number that this agent has verified; 0 for none. */
  rosterNumber: Generation(0),
  /** From `agentCapabilities`, or a later version's. A server asks an agent only for what it names. */
  capabilities: Type.Optional(
    Type.Array(Type.String({ maxLength: 64 }), { maxItems: limits.maxAgentCapabilities }),
  ),
});
export const ResumedSchema = message('resumed', {
  attempts: Type.Array(
    Type.Object({
      step: Id,
      epoch: Epoch,
      /**
       * - `continue`: go on, and send output from ackedSeq + 1.
       * - `cancel`: go on, but stop it.
       * - `superseded`: this lease is no longer current. Settle it anyway: send its output and completion.
       * - `forget`: unknown to this server, or permanently settled: drop spool and journal entry.
       */
      verdict: Type.Enum(['continue', 'cancel', 'superseded', 'forget']),
      ackedSeq: Type.Integer({ minimum: 0 }),
      /** With `forget`: the agent's completion is stored, and only the answer to it was lost. */
      settled: Type.Optional(Type.Boolean()),
      /** With `forget`: another agent has taken it over, and what is on the target belongs to that agent. */
      taken: Type.Optional(Type.Boolean()),
    }),
  ),
});
