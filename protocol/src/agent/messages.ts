// Control messages between agent and server: JSON text frames, one schema per `type`. Unknown optional fields are
// ignored (version N talks to N-1), so these schemas allow additional properties; REST schemas do not.
import { type Static, type TSchema, Type } from 'typebox';
import { SealedEnvelopeSchema } from '../api/agents/sealed-envelope.ts';
import { Identifier, StepOutputsSchema } from '../api/jobs/parameters.ts';
import {
  sshAlgorithmPolicies,
  winrmAuthentications,
  winrmCertificateChecks,
  winrmTransports,
} from '../api/targets/connection-settings.ts';
import { DisplayName } from '../api/text.ts';
import { LeaseGrantSchema } from '../grants/run-grant.ts';
import { limits } from '../limits.ts';
import { StepOutcomeSchema } from '../outcome.ts';
import { Pair } from '../pair.ts';
import { BecomeSchema } from '../steps/ssh-exec.ts';
import { ContentAnswerSchema, ContentRequestSchema } from './content.ts';
import { Bytes32, Signature } from './encodings.ts';
import { maxSeq } from './frames.ts';
import { newKeysFields } from './new-keys.ts';
import { StepValuesSchema } from './step-values.ts';
import { TransferProgressSchema, TransferReportSchema } from './transfers.ts';

export const subprotocol = 'opsconductor.v1';
export const protocolVersions: readonly number[] = [1];
/** What an agent chooses that shares none with the server: it is refused, and the server knows which agent it was. */
export const noVersionInCommon = 0;

/**
 * What not every agent of this protocol version can do, so that the server must not ask it of one that can't. An agent
 * names its own in `resume`; names that a side does not know are passed over.
 */
export const agentCapabilities = [
  /** Logs in as the `username` of a lease's target. */
  'username_setting',
  /** Answers `clean_up`. */
  'clean_up',
  /** Answers `scan_hosts`, and knows host authorities and revoked host keys. */
  'scan_hosts',
  /** Passes the jump hosts of `scan_hosts`. */
  'scan_jumps',
  /** Knows `survive_agent_restart` in the configuration of a step. */
  'survive_agent_restart',
  /** Knows `limits` and `on_output_limit` in the configuration of a step. */
  'step_limits',
  /** Fills in the placeholders of a step, opens sealed values and masks them. */
  'render',
  /** Evaluates `when` of a step, and reports `skipped`. */
  'conditions',
  /** Finds what a step hands on. */
  'outputs',
  /** Knows `shell` in the configuration of a step. */
  'bash',
  /** Reaches targets by WinRM, and runs steps of this type there. */
  'winrm.exec',
  /** Takes up commands that others have begun, on `take_over`, and leaves its own to who takes those up. */
  'take_over',
  /** Knows `interpreter`, `stdin` and `pty` in the configuration of a step. */
  'interpreters',
  /** Knows `become` in the configuration of a step, and in `clean_up`. */
  'become',
  /** Knows it in that of a step that transfers files. */
  'become_transfers',
  /** Knows `run_as` in the configuration of a step. */
  'run_as',
  /** Knows `stdin`, `limits`, `on_output_limit` and `run_as_credential` in the configuration of `winrm.exec`. */
  'winrm_options',
  /** Passes jump hosts, and heeds the algorithm policy and the bound of connections of a target. */
  'ssh_settings',
  /** Step types that agents of the first version do not know: each is a capability of its name. */
  'reboot',
  'wait_for',
  'ssh.copy',
  'sftp.upload',
  'sftp.download',
  'sftp.sync',
  'winrm.copy',
  /** Gets files from the server, and hands artifacts over to it. */
  'server_files',
  /** Makes new keys of its own, on `newKeysWanted`. */
  'new_keys',
  /** Masks what has the form of a secret, on `detectSecrets` of a lease. */
  'detect_secrets',
] as const;
export type AgentCapability = (typeof agentCapabilities)[number];
/** Named among them: the agent's owner lets it run only what is signed; and only what is signed for it alone. */
export const agentDemands = ['signed_runs_only', 'signed_for_one_agent'] as const;
export type AgentDemand = (typeof agentDemands)[number];

/** The same of servers, which name theirs in `welcome`. */
export const serverCapabilities = [
  /** Knows how a command may end that goes on without its agent. */
  'survive_agent_restart',
  /** Knows the status `skipped` of a completion. */
  'conditions',
  /** Knows `output_lost` in `return`, and has somebody else take the command up. */
  'take_over',
  /** Takes `progress`. */
  'transfers',
  /** Answers `content`. */
  'server_files',
  /** Takes what a command has used in its outcome. */
  'measured_use',
  /** Takes `new_keys`. */
  'new_keys',
  /** Takes `policy_read`. */
  'policy_read',
  /** Takes what was masked for its form in an outcome. */
  'detections',
] as const;
export type ServerCapability = (typeof serverCapabilities)[number];

const Id = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
/** A size or a number that only grows; beyond this neither JSON nor the database counts exactly. */
const Count = (minimum = 0) => Type.Integer({ minimum, maximum: Number.MAX_SAFE_INTEGER });
/** Of a chunk of output, as its frame carries it. */
const Seq = (minimum: number) => Type.Integer({ minimum, maximum: maxSeq });
/** Of a segment key or a roster; the database counts these in 32 bits. */
const Generation = (minimum = 1) => Type.Integer({ minimum, maximum: 2_147_483_647 });
const Epoch = Type.Integer({ minimum: 1, maximum: 2_147_483_647 });
/** Compared and kept as it is: nothing that a database or a log could take for something else. */
const Opaque = (minLength: number) => Type.String({ minLength, maxLength: 64, pattern: '^[!-~]*$' });
const LeaseToken = Opaque(16);
const RequestId = Opaque(1);
const message = <T extends string, P extends Record<string, TSchema>>(type: T, properties: P) =>
  Type.Object({ type: Type.Literal(type), ...properties });

/** Names one attempt and proves the lease. */
const attempt = { step: Id, epoch: Epoch, leaseToken: LeaseToken };

// ---- handshake: server → challenge, agent → authenticate, server → welcome, agent → resume, server → resumed

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

// ---- server → agent

export const SealedCredentialSchema = SealedEnvelopeSchema;
export const LeaseCredentialSchema = Type.Object({
  id: Type.String({ maxLength: 64 }),
  version: Type.Integer({ minimum: 1 }),
  kind: Type.String({ maxLength: 64 }),
  sealed: SealedCredentialSchema,
});
/** A certificate authority whose host certificates are accepted. */
export const HostAuthoritySchema = Type.Object({
  /** OpenSSH public key line. */
  key: Type.String({ maxLength: 16_384 }),
  /** Hosts that it may speak for: an OpenSSH pattern list. */
  hosts: Type.String({ maxLength: 1_000 }),
});
const hostTrust = {
  /** An older agent leaves them out, and refuses a host for which no key was accepted. */
  hostAuthorities: Type.Optional(
    Type.Array(HostAuthoritySchema, { maxItems: limits.maxHostAuthoritiesPerSegment }),
  ),
  /** Fingerprints that are refused, whatever else is accepted. */
  revokedHostKeys: Type.Optional(
    Type.Array(Type.String({ maxLength: 64 }), { maxItems: limits.maxRevokedHostKeysPerSegment }),
  ),
};
/** How a target is reached that speaks WinRM. */
export const LeaseWinrmSchema = Type.Object({
  transport: Type.Enum(winrmTransports),
  authentication: Type.Enum(winrmAuthentications),
  certificateCheck: Type.Enum(winrmCertificateChecks),
  /** Of the host, for Kerberos. */
  principal: Type.Optional(Type.String({ maxLength: 512 })),
  /** PEM, instead of the public ones. */
  ca: Type.Optional(Type.String({ maxLength: 32_768 })),
});
export type LeaseWinrm = Static<typeof LeaseWinrmSchema>;
const place = {
  id: Id,
  name: Type.String(),
  host: Type.String(),
  port: Type.Integer({ minimum: 1, maximum: 65_535 }),
  hostKeys: Type.Array(Type.String({ maxLength: 16_384 }), { maxItems: 16 }),
  ...hostTrust,
  /** Whom to log in as instead of the credential's own user; its bounds must allow that. */
  username: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
  /** For one address to answer; the agent's own unless told. */
  connectTimeoutS: Type.Optional(Type.Integer({ minimum: 1, maximum: 300 })),
  /** Between probes on a silent connection; the agent's own unless told. */
  keepaliveIntervalS: Type.Optional(Type.Integer({ minimum: 5, maximum: 600 })),
  /** Which algorithms of SSH it may be reached with; current ones unless told. */
  algorithms: Type.Optional(Type.Enum(sshAlgorithmPolicies)),
  /** SSH connections to it at the same time; the agent's own bound unless told. */
  maxConnections: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.maxConnectionsPerTarget })),
};
/** An SSH server on the way to a target: a target itself. */
export const LeaseJumpSchema = Type.Object({
  target: Type.Object(place),
  credential: LeaseCredentialSchema,
});
export type LeaseJump = Static<typeof LeaseJumpSchema>;
export const LeaseTargetSchema = Type.Object({
  ...place,
  /** What the way leads through, the first one first. */
  jumps: Type.Optional(Type.Array(LeaseJumpSchema, { minItems: 1, maxItems: limits.maxJumpHosts })),
  /** Where it is not reached by SSH. */
  winrm: Type.Optional(LeaseWinrmSchema),
});
/** A secret value that the agent opens: of a parameter, or of an output of an earlier step. */
export const LeaseSecretSchema = Type.Object({
  /** Id of the step that handed it on; left out for a parameter. */
  step: Type.Optional(Type.String({ maxLength: 64 })),
  name: Type.String({ maxLength: 64 }),
  /** What it was sealed for, beside its name. */
  id: Type.String({ maxLength: 64 }),
  sealed: SealedEnvelopeSchema,
});
/**
 * What a step is rendered with. Only where it has placeholders, a condition or outputs, or where its run has secrets; an
 * agent that would pass it over is not given such a step.
 */
export const LeaseRenderingSchema = Type.Object({
  values: StepValuesSchema,
  secrets: Type.Array(LeaseSecretSchema, { maxItems: limits.maxSecretsPerLease }),
  /** What is known of what it may refer to: the job's parameters as they are declared, outputs of the steps before it. */
  scope: Type.Object({
    /** Where the step is in its job: `steps[2]`. */
    path: Type.String({ maxLength: 64 }),
    parameters: Type.Record(Type.String(), Type.Unknown()),
    steps: Type.Record(
      Type.String(),
      Type.Object({
        outputs: Type.Record(
          Type.String(),
          Type.Object({
            secret: Type.Optional(Type.Boolean()),
            allow_leading_dash: Type.Optional(Type.Boolean()),
            mayBeAbsent: Type.Optional(Type.Boolean()),
          }),
        ),
      }),
    ),
  }),
  when: Type.Optional(Type.String({ maxLength: limits.maxExpressionLength })),
  /** What later steps call this one by; left out where they can't. */
  step: Type.Optional(Type.String({ maxLength: 64 })),
  outputs: Type.Optional(StepOutputsSchema),
});
export const LeaseSchema = Type.Object({
  ...attempt,
  runId: Id,
  stepType: Type.String({ maxLength: 64 }),
  /** Validated by the step type's own schema on the agent too, once it is rendered. */
  config: Type.Unknown(),
  target: LeaseTargetSchema,
  credential: LeaseCredentialSchema,
  /** Whom its command runs as, where its configuration names a credential for that. */
  runAs: Type.Optional(LeaseCredentialSchema),
  rendering: Type.Optional(LeaseRenderingSchema),
  /** What has the form of a secret is masked in its output, and not only what is known to be one. */
  detectSecrets: Type.Optional(Type.Boolean()),
  /** Where the run was signed: an agent whose owner asks for it holds all the rest to it. */
  grant: Type.Optional(LeaseGrantSchema),
});
/** Steps leased to this session; the server sends them unasked, up to the agent's free slots. */
export const LeasesSchema = message('leases', { leases: Type.Array(LeaseSchema, { minItems: 1 }) });
const StreamPositionSchema = Type.Object({
  offset: Count(),
  masked: Count(),
  skip: Count(),
});
/** What of an attempt's output is stored, so that another agent can go on behind it. */
export const StoredOutputSchema = Type.Object({
  /** All of 1..seq. */
  seq: Seq(0),
  rawBytes: Count(),
  /** Digest chain over these chunks. */
  digest: Bytes32,
  /** Of the last of them: where in what the command prints to read on. */
  position: Type.Object({ stdout: StreamPositionSchema, stderr: StreamPositionSchema, cut: Type.Boolean() }),
});
/** A command that another agent, or this one before it lost its disk, has begun and that goes on by itself. */
export const TakenOverSchema = Type.Object({
  /** Raised by each take-over: on the target the higher one collects. */
  collector: Count(1),
  output: StoredOutputSchema,
});
/** Attempts to take up, to agents with the capability `take_over`. From here on they are this session's. */
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
export const CancelSchema = message('cancel', { step: Id, epoch: Epoch });
export const OutputAckSchema = message('output_ack', {
  /** Highest contiguous seq that is stored for good. */
  acks: Type.Array(Type.Object({ step: Id, epoch: Epoch, seq: Type.Integer({ minimum: 0 }) })),
});
export const CompletedSchema = message('completed', {
  requestId: RequestId,
  step: Id,
  epoch: Epoch,
  /**
   * settled: outcome and output are stored; drop spool and journal entry · resend: the digests differ, send chunks
   * again from `fromSeq` and complete again (same outcome, new request id) · superseded: the attempt is settled, a
   * newer one decides the step · forget: no such attempt.
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
/** What a scan looks for: `keys` reads the host keys that targets offer, `reach` only whether an SSH server answers. */
export const scanKinds = ['keys', 'reach'] as const;
/** Targets to look at, to agents with the capability `scan_hosts`. Nobody logs in there. */
export const ScanHostsSchema = message('scan_hosts', {
  scanId: Id,
  kind: Type.Enum(scanKinds),
  targets: Type.Array(
    Type.Object({
      id: Id,
      /** Where the way leads through jump hosts. */
      name: Type.Optional(Type.String()),
      host: Type.String(),
      port: Type.Integer({ minimum: 1, maximum: 65_535 }),
      connectTimeoutS: Type.Optional(Type.Integer({ minimum: 1, maximum: 300 })),
    }),
    { minItems: 1, maxItems: limits.maxScansGiven },
  ),
  /** What the way to all of them leads through, the first one first; only to agents with the capability `scan_jumps`. */
  jumps: Type.Optional(Type.Array(LeaseJumpSchema, { minItems: 1, maxItems: limits.maxJumpHosts })),
  ...hostTrust,
});
/** Ends a scan: what it has left is not looked at any more. */
export const ScanCancelSchema = message('scan_cancel', { scanId: Id });
export const SignedRosterSchema = Type.Object({
  payload: Type.String({ maxLength: 1_000_000 }),
  signature: Type.String({ maxLength: 128 }),
});
/** The newest roster, and the segment key wrapped for this agent where a peer (or itself) has wrapped it. */
export const SegmentStateSchema = message('segment_state', {
  roster: SignedRosterSchema,
  wraps: Type.Array(
    Type.Object({ generation: Type.Integer({ minimum: 1 }), wrapped: Type.String({ maxLength: 1024 }) }),
  ),
  /** Members of the roster that still need the segment key from a peer that has it. */
  wanting: Type.Array(Type.Object({ agentId: Id, generation: Type.Integer({ minimum: 1 }) })),
  /** A new generation is wanted, this one: an agent that has the last one was revoked. */
  makeGeneration: Type.Optional(Type.Integer({ minimum: 2 })),
  /** Generations that nobody has wrapped for the recovery key yet that the roster names. */
  wantedForRecovery: Type.Optional(Type.Array(Type.Integer({ minimum: 1 }))),
  /** New keys of the agent itself are wanted; only to agents with the capability `new_keys`. */
  newKeysWanted: Type.Optional(Type.Boolean()),
});
/** The newest checkpoint of the audit log, to keep; only to agents that say which one they hold. */
export const AuditCheckpointMessageSchema = message('audit_checkpoint', {
  /** The size that the agent had said it holds, which the proof begins at. */
  from: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  /** A signed note (docs/audit.md). */
  note: Type.String({ maxLength: 2_000 }),
  /** That it only adds to the checkpoint that the agent said it holds (RFC 9162 section 2.1.4); empty for the first. */
  proof: Type.Array(Bytes32, { maxItems: 128 }),
});
/**
 * Attempts that were cut off and may still run on their targets: find their processes by the attempt's marker, end them
 * and tell what was found. Only to agents with the capability `clean_up`.
 */
export const CleanUpSchema = message('clean_up', {
  requestId: RequestId,
  attempts: Type.Array(
    Type.Object({
      step: Id,
      epoch: Epoch,
      target: LeaseTargetSchema,
      credential: LeaseCredentialSchema,
      /** Whom its command ran as. */
      become: Type.Optional(BecomeSchema),
      /** Its output is not all stored, and the agent that had it may yet bring it: what of it is there is to stay. */
      uncollected: Type.Optional(Type.Boolean()),
    }),
    { minItems: 1, maxItems: limits.maxCleanUpsPerMessage },
  ),
});
/** The server stops or asks this agent to take nothing new. */
export const DrainSchema = message('drain', {
  reason: Type.String({ maxLength: 200 }),
  /**
   * The connection ends for long: what is leased and not begun is to be handed back at once (`return`), and
   * `agent_drain` says that this is done.
   */
  handBack: Type.Optional(Type.Boolean()),
});

// ---- agent → server

/** Why an agent may be busy; a later version may have more. */
export const busyReasons = ['memory', 'load', 'disk'] as const;
export type BusyReason = (typeof busyReasons)[number];
export const HeartbeatSchema = message('heartbeat', {
  sequence: Count(1),
  held: Type.Array(Pair(Id, Epoch), { maxItems: limits.maxHeldAttemptsPerHeartbeat }),
  rssBytes: Type.Optional(Count()),
  loadAverage: Type.Optional(Type.Number({ minimum: 0 })),
  spoolBytes: Type.Optional(Count()),
  /** Why it wants nothing new just now: its memory, or the load of its machine, is above what it was told; its disk refuses its journal, or the output of steps. */
  busy: Type.Optional(Type.String({ minLength: 1, maxLength: 32 })),
  /** Rows that the newest audit checkpoint covers that this agent keeps; 0 for none. Asks for a newer one. */
  auditSize: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
});
/** Answers a heartbeat; the lease deadline counts from when that heartbeat was sent. */
export const HeartbeatAckSchema = message('heartbeat_ack', {
  sequence: Type.Integer({ minimum: 1 }),
  /** The server has so many agents that they are to come back over this time, should it be gone, and not all at once. */
  reconnectWithinMs: Type.Optional(Type.Integer({ minimum: 0 })),
});
export const StartedSchema = message('started', {
  ...attempt,
  /** The command goes on without its agent: should this one be gone for good, another may take it up. */
  survives: Type.Optional(Type.Boolean()),
});
/** Text, or text that is sealed to the segment. */
export const HandedOnSchema = Type.Object({
  value: Type.Optional(Type.String({ maxLength: limits.maxStepOutputCharacters })),
  /** What it was sealed for, beside its name. */
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
    /** Ranges of seq that this agent lost with its disk. */
    gaps: Type.Array(Pair(Seq(1), Seq(1)), {
      maxItems: 64,
    }),
  }),
  /** What the step hands on, by name; of those that its definition names. */
  handsOn: Type.Optional(
    Type.Record(Identifier(), HandedOnSchema, { maxProperties: limits.maxOutputsPerStep }),
  ),
  /** What a transfer has come to; a server of an earlier version passes it over. */
  transfers: Type.Optional(TransferReportSchema),
  /** False asks for no next step: the agent drains. */
  wantsNext: Type.Boolean(),
});
/** How far a transfer is. Nothing depends on it; only to servers with the capability `transfers`. */
export const ProgressSchema = message('progress', {
  step: Id,
  epoch: Epoch,
  transfer: TransferProgressSchema,
});
/** Asks for a file that the step names, or hands an artifact of it over. May be asked again: nothing is done twice. */
export const ContentSchema = message('content', {
  requestId: RequestId,
  ...attempt,
  request: ContentRequestSchema,
});
/**
 * Hands back leases that were not begun. `output_lost`, to servers that can `take_over`: begun, and going on by itself,
 * but this agent has lost where to read its output on.
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
/** The host key that a step's target presented and that is not accepted, for approval in the console. */
export const HostKeySeenSchema = message('host_key_seen', {
  targetId: Id,
  hostKey: Type.String({ maxLength: 16_384 }),
});
export const WrappedKeySchema = message('wrapped_key', {
  agentId: Id,
  generation: Generation(),
  wrapped: Type.String({ maxLength: 1024 }),
  /** Of that agent, which it was wrapped for: it may have another one when this arrives. */
  encryptionKey: Type.Optional(Bytes32),
});
/** The segment key, wrapped for the recovery key; only where `segment_state` wanted it. */
export const RecoveryWrappedSchema = message('recovery_wrapped', {
  generation: Generation(),
  wrapped: Type.String({ maxLength: 1024 }),
});
/** The generation of the segment key that `segment_state` wanted, with its private half wrapped for its maker. */
export const SegmentKeyMadeSchema = message('segment_key_made', {
  generation: Generation(2),
  segmentPublicKey: Bytes32,
  wrapped: Type.String({ maxLength: 1024 }),
  /** By the agent's signing key over the segment key statement (docs/protocol.md). */
  signature: Signature,
});
/** Keys that are to take the place of this agent's own; only to servers with the capability `new_keys`. */
export const NewKeysSchema = message('new_keys', newKeysFields);
/** The owner of the agent's machine had its policy file read again; only to servers with the capability `policy_read`. */
export const PolicyReadSchema = message('policy_read', {
  /** False: it is wrong, and the one before holds on. */
  accepted: Type.Boolean(),
  problem: Type.Optional(Type.String({ maxLength: 2_000 })),
});
/** This agent has opened these generations of the segment key, so it can be given steps that need them. */
export const SegmentReadySchema = message('segment_ready', {
  rosterNumber: Generation(),
  generations: Type.Array(Generation(), { maxItems: limits.maxKeyGenerations }),
});
/** A checkpoint that does not continue the one that this agent keeps: the log was rolled back or rewritten. */
export const AuditCheckpointRefusedSchema = message('audit_checkpoint_refused', {
  reason: Type.Enum(['lower', 'forked', 'wrong_signature', 'malformed']),
  held: Type.String({ maxLength: 2_000 }),
  offered: Type.String({ maxLength: 2_000 }),
});
/** One target of a scan. */
export const ScannedHostSchema = Type.Object({
  targetId: Id,
  ok: Type.Boolean(),
  reason: Type.Optional(Type.String({ maxLength: 64 })),
  message: Type.Optional(Type.String({ maxLength: 1_000 })),
  advice: Type.Optional(Type.String({ maxLength: 1_000 })),
  serverVersion: Type.Optional(Type.String({ maxLength: 255 })),
  /** From dialling to the server's first line. */
  latencyMs: Type.Optional(Type.Number({ minimum: 0 })),
  /** OpenSSH lines of the plain keys, each of which has signed a key exchange. */
  keys: Type.Array(Type.String({ maxLength: 16_384 }), { maxItems: 8 }),
  /** That of the keys whose certificate is accepted: the authority's fingerprint. */
  certified: Type.Optional(
    Type.Object({ authority: Type.String({ maxLength: 64 }), keyId: Type.String({ maxLength: 255 }) }),
  ),
  /** Why the certificate that it offers is not. */
  certificateProblem: Type.Optional(Type.String({ maxLength: 1_000 })),
});
export const HostsScannedSchema = message('hosts_scanned', {
  scanId: Id,
  hosts: Type.Array(ScannedHostSchema, { minItems: 1, maxItems: limits.maxScansGiven }),
});
export const AgentDrainSchema = message('agent_drain', {});
/** nothing: no process of the attempt was there · unreachable: the target could not be asked, try again later. */
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

export const agentToServer = {
  authenticate: AuthenticateSchema,
  resume: ResumeSchema,
  heartbeat: HeartbeatSchema,
  started: StartedSchema,
  complete: CompleteSchema,
  progress: ProgressSchema,
  return: ReturnSchema,
  target_tested: TargetTestedSchema,
  host_key_seen: HostKeySeenSchema,
  wrapped_key: WrappedKeySchema,
  recovery_wrapped: RecoveryWrappedSchema,
  segment_ready: SegmentReadySchema,
  segment_key_made: SegmentKeyMadeSchema,
  new_keys: NewKeysSchema,
  policy_read: PolicyReadSchema,
  agent_drain: AgentDrainSchema,
  cleaned_up: CleanedUpSchema,
  hosts_scanned: HostsScannedSchema,
  audit_checkpoint_refused: AuditCheckpointRefusedSchema,
  content: ContentSchema,
} as const;
export const serverToAgent = {
  challenge: ChallengeSchema,
  welcome: WelcomeSchema,
  resumed: ResumedSchema,
  leases: LeasesSchema,
  take_over: TakeOverSchema,
  cancel: CancelSchema,
  output_ack: OutputAckSchema,
  completed: CompletedSchema,
  test_target: TestTargetSchema,
  segment_state: SegmentStateSchema,
  drain: DrainSchema,
  clean_up: CleanUpSchema,
  heartbeat_ack: HeartbeatAckSchema,
  audit_checkpoint: AuditCheckpointMessageSchema,
  scan_hosts: ScanHostsSchema,
  scan_cancel: ScanCancelSchema,
  content_reply: ContentReplySchema,
} as const;

type MessageOf<M extends Record<string, TSchema>> = { [K in keyof M]: Static<M[K]> }[keyof M];
export type AgentMessage = MessageOf<typeof agentToServer>;
export type ServerMessage = MessageOf<typeof serverToAgent>;
export type AgentMessageOf<T extends keyof typeof agentToServer> = Static<(typeof agentToServer)[T]>;
export type ServerMessageOf<T extends keyof typeof serverToAgent> = Static<(typeof serverToAgent)[T]>;
export type Lease = Static<typeof LeaseSchema>;
export type StoredOutput = Static<typeof StoredOutputSchema>;
export type TakenOver = Static<typeof TakenOverSchema>;
export type LeaseRendering = Static<typeof LeaseRenderingSchema>;
export type LeaseSecret = Static<typeof LeaseSecretSchema>;
export type LeaseTarget = Static<typeof LeaseTargetSchema>;
export type LeaseCredential = Static<typeof LeaseCredentialSchema>;
export type JournalAttempt = Static<typeof JournalAttemptSchema>;
export type TargetTested = Static<typeof TargetTestedSchema>;
export type HostAuthority = Static<typeof HostAuthoritySchema>;
export type ScannedHost = Static<typeof ScannedHostSchema>;
export type ScanKind = (typeof scanKinds)[number];

/** WebSocket close codes of this protocol, with what the agent does about each. */
export const closeCodes = {
  /** 4000: a message or frame that the schema refuses. The agent reconnects, slowly. */
  invalidMessage: 4000,
  /** 4001: identity not proven, revoked or disabled. The agent retries every few minutes. */
  unauthenticated: 4001,
  /** 4003: the connect generation is older than the last one acknowledged: a copy of this agent exists. */
  quarantined: 4003,
  /** 4005: no protocol version in common. */
  noCommonVersion: 4005,
  /** 4008: the handshake took too long, or too many are open from one address. */
  handshakeTimeout: 4008,
  /** 4009: the same agent authenticated elsewhere; the newest session wins. */
  replaced: 4009,
  /** 4010: no heartbeat within the lease TTL. */
  silent: 4010,
  /** 1012: the server restarts. The agent reconnects at once, with jitter. */
  serverRestart: 1012,
} as const;

// ---- enrollment, over HTTPS before the first connection: POST /api/v1/agent/enroll

export const EnrollRequestSchema = Type.Object(
  {
    token: Type.String({ minLength: 43, maxLength: 200 }),
    name: Type.String({ minLength: 1, maxLength: 63, pattern: '^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$' }),
    signingKey: Bytes32,
    encryptionKey: Bytes32,
    /** By the signing key over the enrollment statement (docs/protocol.md): shows that the sender holds it. */
    signature: Signature,
    agentVersion: DisplayName(64),
    platform: DisplayName(64),
  },
  { additionalProperties: false },
);
export const EnrollResponseSchema = Type.Object({
  agentId: Id,
  agentName: Type.String(),
  segmentId: Id,
  segmentName: Type.String(),
  installationId: Type.String(),
  /** The server's Ed25519 identity: every handshake is verified against it. */
  serverKey: Bytes32,
  /** The segment's root, whose fingerprint the token carries: pinned from here on. */
  segmentRoot: Bytes32,
  generation: Type.Integer({ minimum: 0 }),
  generationSignature: Signature,
  /** True when the segment has no key yet: this agent makes it and sends it with POST /api/v1/agent/segment-key. */
  makesSegmentKey: Type.Boolean(),
});
/** POST /api/v1/agent/segment-key: the first agent's segment public key and its wrap for itself. */
export const SegmentKeyRequestSchema = Type.Object(
  {
    agentId: Id,
    segmentPublicKey: Bytes32,
    wrapped: Type.String({ maxLength: 1024 }),
    /** By the agent's signing key over the segment key statement (docs/protocol.md). */
    signature: Signature,
  },
  { additionalProperties: false },
);
export const SegmentKeyResponseSchema = Type.Object({
  /** False when another agent was first; then a peer wraps the key for this one. */
  accepted: Type.Boolean(),
});
export type EnrollRequest = Static<typeof EnrollRequestSchema>;
export type EnrollResponse = Static<typeof EnrollResponseSchema>;
export type SegmentKeyRequest = Static<typeof SegmentKeyRequestSchema>;
export type SegmentKeyResponse = Static<typeof SegmentKeyResponseSchema>;
