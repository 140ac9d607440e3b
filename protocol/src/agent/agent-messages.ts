// Messages from an agent to a server, after the handshake.

import { type Static, Type } from 'typebox';
import { SealedEnvelopeSchema } from '../api/agents/sealed-envelope.ts';
import { Identifier } from '../api/jobs/parameters.ts';
import { Id } from '../api/schema-parts.ts';
import { limits } from '../limits.ts';
import { StepOutcomeSchema } from '../outcome.ts';
import { Pair } from '../pair.ts';
import { ContentRequestSchema } from './content.ts';
import { Bytes32, Signature } from './encodings.ts';
import { attempt, Count, Epoch, Generation, message, RequestId, Seq } from './message-parts.ts';
import { newKeysFields } from './new-keys.ts';
import { TransferProgressSchema, TransferReportSchema } from './transfers.ts';

/** Why an agent may be busy; later versions may have more reasons. */
export const busyReasons = ['memory', 'load', 'disk'] as const;
export type BusyReason = (typeof busyReasons)[number];
export const HeartbeatSchema = message('heartbeat', {
  sequence: Count(1),
  held: Type.Array(Pair(Id, Epoch), { maxItems: limits.maxHeldAttemptsPerHeartbeat }),
  rssBytes: Type.Optional(Count()),
  loadAverage: Type.Optional(Type.Number({ minimum: 0 })),
  spoolBytes: Type.Optional(Count()),
  /**
   * Why it wants nothing new right now: its memory use or its machine's load is above the configured limit, or its disk
   * refuses the journal or the output of steps.
   */
  busy: Type.Optional(Type.String({ minLength: 1, maxLength: 32 })),
  /** Number of rows covered by the newest audit checkpoint that this agent keeps; 0 for none. Asks for a newer one. */
  auditSize: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
});
export const StartedSchema = message('started', {
  ...attempt,
  /** The command survives its agent: if this agent is lost permanently, another may take it over. */
  survives: Type.Optional(Type.Boolean()),
});
/** A text, or a text that is sealed to the segment. */
export const HandedOnSchema = Type.Object({
  value: Type.Optional(Type.String({ maxLength: limits.maxStepOutputCharacters })),
  /** What it was sealed for, in addition to its name. */
  id: Type.Optional(Type.String({ maxLength: 64 })),
  sealed: Type.Optional(SealedEnvelopeSchema),
});
export type HandedOn = Static<typeof HandedOnSchema>;
export const CompleteSchema = message('complete', {
  requestId: RequestId,
  ...attempt,
  outcome: StepOutcomeSchema,
  output: Type.Object({
    lastSeq: Seq(0),
    rawBytes: Count(),
    /** Digest chain over all chunks (see frames.ts), base64. */
    digest: Bytes32,
    truncated: Type.Boolean(),
    /** Ranges of sequence numbers that this agent lost with its disk. */
    gaps: Type.Array(Pair(Seq(1), Seq(1)), {
      maxItems: 64,
    }),
  }),
  /** Outputs that the step hands on, by name; only those that its definition declares. */
  handsOn: Type.Optional(
    Type.Record(Identifier(), HandedOnSchema, { maxProperties: limits.maxOutputsPerStep }),
  ),
  /** Result of a transfer; ignored by older servers. */
  transfers: Type.Optional(TransferReportSchema),
  /** `false` requests no next step, because the agent is draining. */
  wantsNext: Type.Boolean(),
});
/** Progress of a transfer. Nothing depends on it; only for servers with the capability `transfers`. */
export const ProgressSchema = message('progress', {
  step: Id,
  epoch: Epoch,
  transfer: TransferProgressSchema,
});
/**
 * Whether the target of a command that survives its agent answers. Nothing depends on it; only to servers with the
 * capability `target_silence`.
 */
export const TargetSilenceSchema = message('target_silence', {
  ...attempt,
  /** For how long it has not answered, in ms; left out if it answers again. */
  silentMs: Type.Optional(Count()),
  /** In how many ms the step's time is up. */
  leftMs: Type.Optional(Count()),
});
/** Requests a file that the step names, or sends one of its artifacts. May be repeated: nothing is done twice. */
export const ContentSchema = message('content', {
  requestId: RequestId,
  ...attempt,
  request: ContentRequestSchema,
});
/**
 * Hands back leases that were not begun. `output_lost` (only to servers with the capability `take_over`): the command
 * was begun and goes on by itself, but this agent can't read its output: it has lost the position, the target says that
 * another agent reads, or it may not take the command over.
 */
export const ReturnSchema = message('return', {
  attempts: Type.Array(Type.Object(attempt), { minItems: 1 }),
  reason: Type.Enum(['draining', 'lease_expired', 'no_key', 'output_lost']),
});
export const TargetTestedSchema = message('target_tested', {
  requestId: RequestId,
  ok: Type.Boolean(),
  reason: Type.Optional(Type.String({ maxLength: 64 })),
  message: Type.Optional(Type.String({ maxLength: 2_000 })),
  advice: Type.Optional(Type.String({ maxLength: 2_000 })),
  /** OpenSSH public key line that the host presented. */
  offeredHostKey: Type.Optional(Type.String({ maxLength: 16_384 })),
  serverVersion: Type.Optional(Type.String({ maxLength: 255 })),
  latencyMs: Type.Optional(Type.Number({ minimum: 0 })),
});
export type TargetTested = Static<typeof TargetTestedSchema>;
/** A host key that a step's target presented and that isn't accepted, to be approved in the console. */
export const HostKeySeenSchema = message('host_key_seen', {
  targetId: Id,
  hostKey: Type.String({ maxLength: 16_384 }),
});
export const WrappedKeySchema = message('wrapped_key', {
  agentId: Id,
  generation: Generation(),
  wrapped: Type.String({ maxLength: 1024 }),
  /** The encryption key that it was wrapped for: the receiving agent may have a different one when this arrives. */
  encryptionKey: Type.Optional(Bytes32),
});
/** The segment key, wrapped for the recovery key; only if `segment_state` asked for it. */
export const RecoveryWrappedSchema = message('recovery_wrapped', {
  generation: Generation(),
  wrapped: Type.String({ maxLength: 1024 }),
});
/** The generation of the segment key that `segment_state` asked for, with its private half wrapped for its maker. */
export const SegmentKeyMadeSchema = message('segment_key_made', {
  generation: Generation(2),
  segmentPublicKey: Bytes32,
  wrapped: Type.String({ maxLength: 1024 }),
  /** Made with the agent's signing key over the segment key statement (docs/protocol.md). */
  signature: Signature,
});
/** New keys to replace this agent's own; only to servers with the capability `new_keys`. */
export const NewKeysSchema = message('new_keys', newKeysFields);
/**
 * The owner of the agent's machine had the policy file read again; only to servers with the capability `policy_read`.
 */
export const PolicyReadSchema = message('policy_read', {
  /** `false`: the file is invalid, and the previous policy stays in force. */
  accepted: Type.Boolean(),
  problem: Type.Optional(Type.String({ maxLength: 2_000 })),
});
/** The agent has opened these generations of the segment key, so it can be given steps that need them. */
export const SegmentReadySchema = message('segment_ready', {
  rosterNumber: Generation(),
  generations: Type.Array(Generation(), { maxItems: limits.maxKeyGenerations }),
});
/** A checkpoint that doesn't continue the one kept by this agent: the log was rolled back or rewritten. */
export const AuditCheckpointRefusedSchema = message('audit_checkpoint_refused', {
  reason: Type.Enum(['lower', 'forked', 'wrong_signature', 'malformed']),
  held: Type.String({ maxLength: 2_000 }),
  offered: Type.String({ maxLength: 2_000 }),
});
/** The result for one target of a scan. */
export const ScannedHostSchema = Type.Object({
  targetId: Id,
  ok: Type.Boolean(),
  reason: Type.Optional(Type.String({ maxLength: 64 })),
  message: Type.Optional(Type.String({ maxLength: 1_000 })),
  advice: Type.Optional(Type.String({ maxLength: 1_000 })),
  serverVersion: Type.Optional(Type.String({ maxLength: 255 })),
  /** Time from dialing to the server's first line. */
  latencyMs: Type.Optional(Type.Number({ minimum: 0 })),
  /** Plain keys as OpenSSH lines; each has signed a key exchange. */
  keys: Type.Array(Type.String({ maxLength: 16_384 }), { maxItems: 8 }),
  /** If the certificate of one of the keys is accepted: the authority's fingerprint. */
  certified: Type.Optional(
    Type.Object({ authority: Type.String({ maxLength: 64 }), keyId: Type.String({ maxLength: 255 }) }),
  ),
  /** Why the certificate that the host offers is not accepted. */
  certificateProblem: Type.Optional(Type.String({ maxLength: 1_000 })),
});
export type ScannedHost = Static<typeof ScannedHostSchema>;
export const HostsScannedSchema = message('hosts_scanned', {
  scanId: Id,
  hosts: Type.Array(ScannedHostSchema, { minItems: 1, maxItems: limits.maxScansGiven }),
});
export const AgentDrainSchema = message('agent_drain', {});
/** `nothing`: no process of the attempt was there. `unreachable`: the target could not be asked; try again later. */
export const cleanUpFindings = ['nothing', 'ended', 'survivors', 'unreachable'] as const;
export type CleanUpFinding = (typeof cleanUpFindings)[number];
export const CleanedUpSchema = message('cleaned_up', {
  requestId: RequestId,
  results: Type.Array(
    Type.Object({
      step: Id,
      epoch: Epoch,
      found: Type.Enum(cleanUpFindings),
      survivors: Type.Optional(
        Type.Array(Type.Object({ pid: Type.Integer(), command: Type.String({ maxLength: 512 }) }), {
          maxItems: 100,
        }),
      ),
    }),
    { minItems: 1, maxItems: limits.maxCleanUpsPerMessage },
  ),
});
