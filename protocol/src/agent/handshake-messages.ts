// The handshake: server → challenge, agent → authenticate, server → welcome, agent → resume, server → resumed.
import { type Static, Type } from 'typebox';
import { limits } from '../limits.ts';
import { Bytes32, Signature } from './encodings.ts';
import { attempt, Count, Epoch, Generation, Id, message, Seq } from './message-parts.ts';

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
  /** By the agent's Ed25519 key over the handshake transcript, in the agent's role. */
  signature: Signature,
  /** The newest connect generation this agent holds, with the server's signature on it. */
  generation: Count(),
  generationSignature: Signature,
});
export const WelcomeSchema = message('welcome', {
  chosenVersion: Type.Integer(),
  /** By the server's Ed25519 key over the same transcript, in the server's role. */
  signature: Signature,
  sessionNumber: Type.Integer({ minimum: 1 }),
  generation: Type.Integer({ minimum: 1 }),
  generationSignature: Signature,
  heartbeatIntervalMs: Type.Integer({ minimum: 100 }),
  leaseTtlMs: Type.Integer({ minimum: 500 }),
  /** Of `serverCapabilities`, or of a later version's. */
  capabilities: Type.Optional(
    Type.Array(Type.String({ maxLength: 64 }), { maxItems: limits.maxAgentCapabilities }),
  ),
  /** The reasons that a completion may give; others are put in words that the server knows. */
  stepReasons: Type.Optional(Type.Array(Type.String({ maxLength: 64 }), { maxItems: limits.maxStepReasons })),
});

/** One attempt in the agent's journal. */
export const JournalAttemptSchema = Type.Object({
  ...attempt,
  /**
   * leased: delivered, not begun · running: begun, still going on · finished: its outcome is known and will be sent
   * as a completion · interrupted: begun by an agent process that is gone, so what happened is not known.
   */
  state: Type.Enum(['leased', 'running', 'finished', 'interrupted']),
  /** Chunks in the spool: all of 1..lastSeq that were not acknowledged are still there. */
  lastSeq: Seq(0),
  /** Its command goes on without its agent. */
  survives: Type.Optional(Type.Boolean()),
});
export type JournalAttempt = Static<typeof JournalAttemptSchema>;
export const ResumeSchema = message('resume', {
  /** Says that the generation of `welcome` is safe on disk. */
  generation: Count(1),
  slots: Type.Integer({ minimum: 1, maximum: limits.maxSlots }),
  agentVersion: Type.String({ maxLength: 64 }),
  platform: Type.String({ maxLength: 64 }),
  hostname: Type.Optional(Type.String({ maxLength: 253 })),
  draining: Type.Boolean(),
  /** False when the journal was lost or damaged: then nothing may be concluded from an attempt's absence. */
  journalIntact: Type.Boolean(),
  /** Which loss that is: the same until a server has heard of it, so that what was leased since is not counted to it. */
  journalLoss: Type.Optional(Type.String({ maxLength: 64 })),
  attempts: Type.Array(JournalAttemptSchema, { maxItems: limits.maxHeldAttemptsPerHeartbeat }),
  /** Highest roster number this agent has verified; 0 when none. */
  rosterNumber: Generation(0),
  /** Of `agentCapabilities`, or of a later version's. A server asks no agent for what it doesn't name. */
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
       * continue: go on and send output from ackedSeq + 1 · cancel: go on, but stop it ·
       * superseded: this lease is not current. Settle it all the same: send its output and completion.
       * forget: unknown to this server or settled for good: drop spool and journal entry.
       */
      verdict: Type.Enum(['continue', 'cancel', 'superseded', 'forget']),
      ackedSeq: Type.Integer({ minimum: 0 }),
      /** With forget: the agent's completion is stored, and only the answer to it was lost. */
      settled: Type.Optional(Type.Boolean()),
      /** With forget: another agent has taken it up. What is on the target is that one's. */
      taken: Type.Optional(Type.Boolean()),
    }),
  ),
});
