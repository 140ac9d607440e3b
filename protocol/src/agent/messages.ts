// Control messages between agent and server: JSON text frames, one schema per `type`. Unknown optional fields are
// ignored (version N talks to N-1), so these schemas allow additional properties; REST schemas do not.
import type { Static, TSchema } from 'typebox';
import {
  AgentDrainSchema,
  AuditCheckpointRefusedSchema,
  CleanedUpSchema,
  CompleteSchema,
  ContentSchema,
  HeartbeatSchema,
  HostKeySeenSchema,
  HostsScannedSchema,
  NewKeysSchema,
  PolicyReadSchema,
  ProgressSchema,
  RecoveryWrappedSchema,
  ReturnSchema,
  SegmentKeyMadeSchema,
  SegmentReadySchema,
  StartedSchema,
  TargetSilenceSchema,
  TargetTestedSchema,
  WrappedKeySchema,
} from './agent-messages.ts';
import {
  AuthenticateSchema,
  ChallengeSchema,
  ResumedSchema,
  ResumeSchema,
  WelcomeSchema,
} from './handshake-messages.ts';
import {
  AuditCheckpointMessageSchema,
  CancelSchema,
  CleanUpSchema,
  CompletedSchema,
  ContentReplySchema,
  DrainSchema,
  HeartbeatAckSchema,
  LeasesSchema,
  OutputAckSchema,
  PrepareSchema,
  ScanCancelSchema,
  ScanHostsSchema,
  SegmentStateSchema,
  TakeOverSchema,
  TestTargetSchema,
} from './server-messages.ts';

export const agentToServer = {
  authenticate: AuthenticateSchema,
  resume: ResumeSchema,
  heartbeat: HeartbeatSchema,
  started: StartedSchema,
  complete: CompleteSchema,
  progress: ProgressSchema,
  target_silence: TargetSilenceSchema,
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
  prepare: PrepareSchema,
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
