// Agents as people see and manage them: their state, labels, current steps, and why one is not connected.
import { type Static, Type } from 'typebox';
import { Changes, Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../schema-parts.ts';
import { LabelsSchema } from '../targets/targets.ts';

/**
 * The last three are set by decisions: a disabled agent can be enabled again; quarantined and revoked are permanent.
 */
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
  /** Time of the latest close. While identical closes repeat, it can lag by up to a minute. */
  at: Timestamp,
  /** Time of the first in the current row of identical closes. */
  since: Timestamp,
  code: Type.Integer({
    description: 'WebSocket close code (docs/protocol.md); 1006 if the connection was lost',
  }),
  /** Reason text; empty if none was given. */
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
  /** When it entered that state, if known. */
  since: Nullable(Timestamp),
  /** When draining was requested: since then it takes nothing new. */
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
  /** One-minute load average of its machine. */
  loadAverage: Nullable(Type.Number()),
  /** Why it gets no new steps right now (`memory`, `load` or `disk`); `null` if it isn't busy. */
  busyReason: Nullable(Type.String()),
  /** Whether it can open the segment's credentials yet. */
  hasSegmentKey: Type.Boolean(),
  /** Attempts of this agent that ended unknown, in runs that are still open or held. */
  unknownSteps: Type.Integer(),
  /** How its last connection ended, or why it was refused after authenticating; `null` before the first time. */
  lastClose: Nullable(AgentCloseSchema),
  fingerprint: Type.String(),
  enrolledAt: Timestamp,
});
export type Agent = Static<typeof AgentSchema>;
export const AgentPageSchema = Page(AgentSchema);

export const AgentDetailSchema = Type.Object({
  ...AgentSchema.properties,
  connectedAt: Nullable(Timestamp),
  /** Generations of the segment key that it has reported it can open. */
  keyGenerations: Type.Array(Type.Integer()),
  /** The segment's newest key generation; 0 before the first. */
  currentGeneration: Type.Integer(),
  /** Steps it is running now, oldest first: as many as `slotsInUse`, at most 100. */
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
      /** `null` if the step is leased but not known to have started. */
      startedAt: Nullable(Timestamp),
    }),
  ),
  /**
   * Whether it connects from a server's own machine, as the quickstart's agent does: anyone who takes that machine's
   * disk also gets the segment's credentials.
   */
  onServerMachine: Type.Boolean(),
  /** When its own keys were last replaced; `null` if it still has those it was enrolled with. */
  keysChangedAt: Nullable(Timestamp),
  /** When it was asked to replace its keys, while it hasn't yet; otherwise `null`. */
  newKeysWantedAt: Nullable(Timestamp),
  /** The effect of revoking it (or, once revoked, what that was). */
  revocation: Type.Object({
    /** Other agents of the segment that are neither revoked nor quarantined. */
    remainingAgents: Type.Integer(),
    /** Credentials it can open. */
    credentials: Type.Integer(),
  }),
});
export type AgentDetail = Static<typeof AgentDetailSchema>;

export const AgentQuerySchema = Closed({
  ...pageQuery,
  segmentId: Type.Optional(Id),
  segmentIds: Type.Optional(
    Type.String({
      maxLength: 3200,
      pattern: '^[0-9]{1,15}(,[0-9]{1,15}){0,199}$',
      description: 'Only agents of these segments: comma-separated, at most 200',
    }),
  ),
  /** If omitted, lists all agents except revoked ones. */
  state: Type.Optional(Type.Enum(agentStates)),
  /** `name` or `name=value`. */
  label: Type.Optional(Type.String({ minLength: 1, maxLength: 320, description: '`name` or `name=value`' })),
  search: Type.Optional(
    Type.String({ maxLength: 100, description: 'Part of the name, hostname or address' }),
  ),
});
export type AgentQuery = Static<typeof AgentQuerySchema>;
/** Replaces all labels. */
export const PutAgentLabelsRequestSchema = Changes({ labels: LabelsSchema });
export type PutAgentLabelsRequest = Static<typeof PutAgentLabelsRequestSchema>;
