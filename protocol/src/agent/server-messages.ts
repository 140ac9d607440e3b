// Messages from a server to an agent, after the handshake.

import { type Static, Type } from 'typebox';
import { Id } from '../api/schema-parts.ts';
import { limits } from '../limits.ts';
import { BecomeSchema } from '../steps/ssh-exec.ts';
import { ContentAnswerSchema } from './content.ts';
import { Bytes32 } from './encodings.ts';
import {
  hostTrust,
  LeaseCredentialSchema,
  LeaseJumpSchema,
  LeaseSchema,
  LeaseTargetSchema,
} from './lease.ts';
import { Count, Epoch, message, RequestId, Seq } from './message-parts.ts';

export const LeasesSchema = message('leases', { leases: Type.Array(LeaseSchema, { minItems: 1 }) });
const StreamPositionSchema = Type.Object({
  offset: Count(),
  masked: Count(),
  skip: Count(),
});
/** The stored part of an attempt's output, so that another agent can continue after it. */
export const StoredOutputSchema = Type.Object({
  /** All of 1..seq are stored. */
  seq: Seq(0),
  rawBytes: Count(),
  /** Digest chain over these chunks. */
  digest: Bytes32,
  /** The position of the last chunk: where to continue reading what the command prints. */
  position: Type.Object({ stdout: StreamPositionSchema, stderr: StreamPositionSchema, cut: Type.Boolean() }),
});
export type StoredOutput = Static<typeof StoredOutputSchema>;
/** A command that another agent began, or this one before it lost its disk, and that survives its agent. */
export const TakenOverSchema = Type.Object({
  /** Incremented by each take-over: on the target, the agent with the higher number collects the output. */
  collector: Count(1),
  output: StoredOutputSchema,
});
export type TakenOver = Static<typeof TakenOverSchema>;
/** Attempts to take over, for agents with the capability `take_over`. From now on they belong to this session. */
export const TakeOverSchema = message('take_over', {
  attempts: Type.Array(
    Type.Object({
      lease: LeaseSchema,
      begunMsAgo: Count(),
      ...TakenOverSchema.properties,
    }),
    { minItems: 1 },
  ),
});
/** Most steps that one `prepare` names. When more start at once, preparing does not pay. */
export const maxPreparedSteps = 16;
/**
 * Steps of type `ssh.exec` that may be leased to this agent next; sent to agents with the capability `prepare`. This is only
 * a hint: it allows nothing to begin, and the leases may never come.
 */
export const PrepareSchema = message('prepare', {
  steps: Type.Array(Type.Object({ step: Id, epoch: Epoch, target: Id }), {
    minItems: 1,
    maxItems: maxPreparedSteps,
  }),
});
export const CancelSchema = message('cancel', { step: Id, epoch: Epoch });
export const OutputAckSchema = message('output_ack', {
  /** Highest seq up to which all chunks are durably stored. */
  acks: Type.Array(Type.Object({ step: Id, epoch: Epoch, seq: Type.Integer({ minimum: 0 }) })),
});
export const CompletedSchema = message('completed', {
  requestId: RequestId,
  step: Id,
  epoch: Epoch,
  /**
   * - `settled`: outcome and output are stored; drop spool and journal entry.
   * - `resend`: the digests differ; send chunks again from `fromSeq`, and complete again (same outcome, new request
   *   id).
   * - `superseded`: the attempt is settled; a newer one decides the step.
   * - `forget`: there is no such attempt.
   */
  result: Type.Enum(['settled', 'resend', 'superseded', 'forget']),
  fromSeq: Type.Optional(Type.Integer({ minimum: 1 })),
  /** The target run's next step, leased in the same transaction. */
  next: Type.Optional(LeaseSchema),
});
/** Answers `content`. */
export const ContentReplySchema = message('content_reply', {
  requestId: RequestId,
  answer: ContentAnswerSchema,
});
/** Asks for a reachability and login test of a target, outside any run. */
export const TestTargetSchema = message('test_target', {
  requestId: RequestId,
  target: LeaseTargetSchema,
  credential: Type.Optional(LeaseCredentialSchema),
  timeoutMs: Type.Integer({ minimum: 100, maximum: 60_000 }),
});
/** Kind of scan: `keys` reads the host keys that targets offer, `reach` only checks whether an SSH server answers. */
export const scanKinds = ['keys', 'reach'] as const;
export type ScanKind = (typeof scanKinds)[number];
/** Targets to look at without logging in, for agents with the capability `scan_hosts`. */
export const ScanHostsSchema = message('scan_hosts', {
  scanId: Id,
  kind: Type.Enum(scanKinds),
  targets: Type.Array(
    Type.Object({
      id: Id,
      /** Present if the connection goes through jump hosts. */
      name: Type.Optional(Type.String()),
      host: Type.String(),
      port: Type.Integer({ minimum: 1, maximum: 65_535 }),
      connectTimeoutS: Type.Optional(Type.Integer({ minimum: 1, maximum: 300 })),
    }),
    { minItems: 1, maxItems: limits.maxScansGiven },
  ),
  /** The jump hosts for all of these targets, in order; only for agents with the capability `scan_jumps`. */
  jumps: Type.Optional(Type.Array(LeaseJumpSchema, { minItems: 1, maxItems: limits.maxJumpHosts })),
  ...hostTrust,
});
/** Ends a scan: its remaining targets are skipped. */
export const ScanCancelSchema = message('scan_cancel', { scanId: Id });
export const SignedRosterSchema = Type.Object({
  payload: Type.String({ maxLength: 1_000_000 }),
  signature: Type.String({ maxLength: 128 }),
});
/** The newest roster, and the segment key wrapped for this agent, if a peer (or the agent itself) has wrapped it. */
export const SegmentStateSchema = message('segment_state', {
  roster: SignedRosterSchema,
  wraps: Type.Array(
    Type.Object({ generation: Type.Integer({ minimum: 1 }), wrapped: Type.String({ maxLength: 1024 }) }),
  ),
  /** Members of the roster that still need the segment key from a peer that has it. */
  wanting: Type.Array(Type.Object({ agentId: Id, generation: Type.Integer({ minimum: 1 }) })),
  /** Requests this new generation, because an agent that has the last one was revoked. */
  makeGeneration: Type.Optional(Type.Integer({ minimum: 2 })),
  /** Generations that this agent has not wrapped yet for the recovery key in the roster. */
  wantedForRecovery: Type.Optional(Type.Array(Type.Integer({ minimum: 1 }))),
  /** Requests new keys of the agent itself; only for agents with the capability `new_keys`. */
  newKeysWanted: Type.Optional(Type.Boolean()),
});
/** The newest checkpoint of the audit log, for the agent to keep; only for agents that report which one they hold. */
export const AuditCheckpointMessageSchema = message('audit_checkpoint', {
  /** The size that the agent reported, at which the proof begins. */
  from: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  /** A signed note (docs/audit.md). */
  note: Type.String({ maxLength: 2_000 }),
  /**
   * Proves that it only extends the checkpoint that the agent holds (RFC 9162 section 2.1.4); empty for the first one.
   */
  proof: Type.Array(Bytes32, { maxItems: 128 }),
});
/**
 * Attempts that were cut off and may still run on their targets: find their processes by the attempt's marker, end
 * them, and report what was found. Only for agents with the capability `clean_up`.
 */
export const CleanUpSchema = message('clean_up', {
  requestId: RequestId,
  attempts: Type.Array(
    Type.Object({
      step: Id,
      epoch: Epoch,
      target: LeaseTargetSchema,
      credential: LeaseCredentialSchema,
      /** The user that its command ran as. */
      become: Type.Optional(BecomeSchema),
      /** Not all of its output is stored, and its former agent may still deliver it: whatever is there must be kept. */
      uncollected: Type.Optional(Type.Boolean()),
    }),
    { minItems: 1, maxItems: limits.maxCleanUpsPerMessage },
  ),
});
/** The server is stopping, or asks this agent to take nothing new. */
export const DrainSchema = message('drain', {
  reason: Type.String({ maxLength: 200 }),
  /**
   * The connection will end for a long time: hand back at once what is leased but not begun (`return`), and confirm
   * with `agent_drain`.
   */
  handBack: Type.Optional(Type.Boolean()),
});
/** Answers a heartbeat. The lease deadline counts from when that heartbeat was sent. */
export const HeartbeatAckSchema = message('heartbeat_ack', {
  sequence: Type.Integer({ minimum: 1 }),
  /** If the server is lost, its agents should reconnect spread over this time, because there are many of them. */
  reconnectWithinMs: Type.Optional(Type.Integer({ minimum: 0 })),
});
