// Agents as people see and manage them: state, labels, what they run, why one is not connected.
import { type Static, Type } from 'typebox';
import { Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../common.ts';
import { LabelsSchema } from '../targets/targets.ts';

/** The last three are decisions: what is disabled can be enabled, what is quarantined or revoked is so for good. */
export const agentStates = [
  'connected',
  'draining',
  'silent',
  'offline',
  'disabled',
  'quarantined',
  'revoked',
] as const;
export type AgentState = (typeof agentStates)[number];

export const AgentCloseSchema = Type.Object({
  /** The last time; while equal ends follow each other it is at most a minute behind. */
  at: Timestamp,
  /** The first of equal ends in a row. */
  since: Timestamp,
  code: Type.Integer({
    description: 'WebSocket close code (docs/protocol.md); 1006 where the connection was lost',
  }),
  /** In words; empty where none were given. */
  reason: Type.String(),
  address: Nullable(Type.String()),
});
export type AgentClose = Static<typeof AgentCloseSchema>;

export const AgentSchema = Type.Object({
  id: Id,
  name: Type.String(),
  segmentId: Id,
  segmentName: Type.String(),
  state: Type.Enum(agentStates),
  /** Since when it is in that state, where known. */
  since: Nullable(Timestamp),
  /** Since when somebody wants it to take nothing new. */
  drainRequestedAt: Nullable(Timestamp),
  labels: LabelsSchema,
  slots: Type.Integer(),
  slotsInUse: Type.Integer(),
  lastHeartbeatAt: Nullable(Timestamp),
  version: Type.String(),
  platform: Type.String(),
  hostname: Nullable(Type.String()),
  address: Nullable(Type.String()),
  spoolBytes: Nullable(Type.Integer()),
  rssBytes: Nullable(Type.Integer()),
  /** Of its machine, over a minute. */
  loadAverage: Nullable(Type.Number()),
  /** Why it is given nothing new just now: `memory`, `load`, above what it was started with; null where it is. */
  busyReason: Nullable(Type.String()),
  /** Whether it can open the segment's credentials yet. */
  hasSegmentKey: Type.Boolean(),
  /** Attempts of this agent that ended unknown and wait in open or held runs. */
  unknownSteps: Type.Integer(),
  /** How its last connection ended, or was refused after it proved who it is; null before the first end. */
  lastClose: Nullable(AgentCloseSchema),
  fingerprint: Type.String(),
  enrolledAt: Timestamp,
});
export type Agent = Static<typeof AgentSchema>;
export const AgentPageSchema = Page(AgentSchema);

export const AgentDetailSchema = Type.Object({
  ...AgentSchema.properties,
  connectedAt: Nullable(Timestamp),
  /** Generations of the segment key that it said it can open. */
  keyGenerations: Type.Array(Type.Integer()),
  /** The segment's newest generation; 0 before the first. */
  currentGeneration: Type.Integer(),
  /** What it runs now, the oldest first; as many as `slotsInUse`, a hundred at most. */
  steps: Type.Array(
    Type.Object({
      runId: Id,
      jobName: Type.String(),
      targetRunId: Id,
      targetName: Type.String(),
      stepId: Id,
      stepNumber: Type.Integer(),
      stepName: Type.String(),
      leasedAt: Timestamp,
      /** Null: leased, and not begun as far as is known. */
      startedAt: Nullable(Timestamp),
    }),
  ),
  /**
   * It connects from a server's own machine, as the quickstart's does: whoever takes that machine's disk takes its
   * segment's credentials with it.
   */
  onServerMachine: Type.Boolean(),
  /** When its own keys were replaced last; null for those that it was enrolled with. */
  keysChangedAt: Nullable(Timestamp),
  /** Since when it is to replace them and has made none; null where it is not. */
  newKeysWantedAt: Nullable(Timestamp),
  /** What revoking it would do, or did. */
  revocation: Type.Object({
    /** Other agents of the segment that are neither revoked nor quarantined. */
    remainingAgents: Type.Integer(),
    /** Credentials that it can open. */
    credentials: Type.Integer(),
  }),
});
export type AgentDetail = Static<typeof AgentDetailSchema>;

export const AgentQuerySchema = Closed({
  ...pageQuery,
  segmentId: Type.Optional(Id),
  /** Without it all but revoked agents are listed. */
  state: Type.Optional(Type.Enum(agentStates)),
  /** `name`, or `name=value`. */
  label: Type.Optional(Type.String({ minLength: 1, maxLength: 320, description: '`name` or `name=value`' })),
  search: Type.Optional(Type.String({ maxLength: 100, description: 'A part of name, hostname or address' })),
});
export type AgentQuery = Static<typeof AgentQuerySchema>;
/** All labels, in place of those it has. */
export const PutAgentLabelsRequestSchema = Closed({ labels: LabelsSchema });
