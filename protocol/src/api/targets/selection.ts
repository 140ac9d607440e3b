// Selecting targets: by id, by target group, by selector, less what is excluded. Resolved when a run starts and kept in
// it as it was asked.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { Closed, Id, Nullable, pageQuery } from '../common.ts';

export const SelectorText = Type.String({
  minLength: 1,
  maxLength: limits.maxSelectorLength,
  description: 'Selector: `segment:dmz-1 os=linux env in (prod, stage) !canary`',
});
const TargetIds = Type.Array(Id, {
  minItems: 1,
  maxItems: limits.maxTargetsPerRun,
  uniqueItems: true,
  description: 'Targets of any segments',
});
const GroupIds = Type.Array(Id, { minItems: 1, maxItems: 100, uniqueItems: true });
/** At least one of `targetIds`, `groupIds` and `selector`; what they name together, less what `exclude` names. */
export const selectionFields = {
  targetIds: Type.Optional(TargetIds),
  groupIds: Type.Optional(GroupIds),
  selector: Type.Optional(SelectorText),
  exclude: Type.Optional(
    Closed({
      targetIds: Type.Optional(TargetIds),
      groupIds: Type.Optional(GroupIds),
      selector: Type.Optional(SelectorText),
    }),
  ),
};
export const TargetSelectionSchema = Closed(selectionFields);
export type TargetSelection = Static<typeof TargetSelectionSchema>;

/** Why a selected target can't be run on. */
export const selectionProblems = [
  'inactive',
  'no_agent',
  'no_credential',
  'protocol',
  'run_forbidden',
  'credential_forbidden',
] as const;
export type SelectionProblem = (typeof selectionProblems)[number];

export const SelectTargetsRequestSchema = Closed({
  ...selectionFields,
  /** The job that is to be run: its category's right, connection settings and step types are looked at as well. */
  jobId: Type.Optional(Id),
  limit: pageQuery.limit,
  cursor: pageQuery.cursor,
});
export type SelectTargetsRequest = Static<typeof SelectTargetsRequestSchema>;
export const SelectedTargetSchema = Type.Object({
  id: Id,
  name: Type.String(),
  segmentId: Id,
  segmentName: Type.String(),
  host: Type.String(),
  problem: Nullable(Type.Enum(selectionProblems)),
});
export type SelectedTarget = Static<typeof SelectedTargetSchema>;
/** Of a segment whose agents run only what is signed. */
export const SegmentSigningSchema = Type.Object({
  agents: Type.Array(Type.Object({ id: Id, name: Type.String() })),
  /** Each runs only what is signed for it alone. */
  oneAgent: Type.Boolean(),
});
export const SelectTargetsReplySchema = Type.Object({
  /** Selected, whether or not they can be run on. Inactive targets are selected only by id. */
  total: Type.Integer(),
  runnable: Type.Integer(),
  segments: Type.Array(
    Type.Object({
      id: Id,
      name: Type.String(),
      count: Type.Integer(),
      runnable: Type.Integer(),
      signing: Type.Optional(SegmentSigningSchema),
      /** It has agents, and none that could take a step now: what is started there waits for one. */
      waitsForAgent: Type.Optional(Type.Literal(true)),
    }),
  ),
  problems: Type.Array(
    Type.Object({
      problem: Type.Enum(selectionProblems),
      /** One sentence: what it is and what to do. */
      message: Type.String(),
      count: Type.Integer(),
      /** The first few names. */
      targets: Type.Array(Type.String()),
    }),
  ),
  /** What would open the targets: by segment, those of the targets and those that the job's steps name. */
  credentials: Type.Optional(
    Type.Array(Type.Object({ name: Type.String(), segmentName: Type.String(), count: Type.Integer() })),
  ),
  /** Targets of which no host key is accepted: steps there fail with `host_key_unknown`. */
  withoutHostKey: Type.Optional(Type.Integer()),
  /** What looks like a mistake in a selector: a label that no target has. */
  notes: Type.Array(Type.String()),
  items: Type.Array(SelectedTargetSchema),
  nextCursor: Nullable(Type.String()),
});
export type SelectTargetsReply = Static<typeof SelectTargetsReplySchema>;

/** How a run's targets were asked for, kept in the run. Names are those of that time. */
export const RunSelectionSchema = Type.Object({
  /** So many by id. */
  targets: Type.Integer(),
  groups: Type.Array(Type.Object({ id: Id, name: Type.String() })),
  selector: Nullable(Type.String()),
  exclude: Type.Object({
    targets: Type.Integer(),
    groups: Type.Array(Type.Object({ id: Id, name: Type.String() })),
    selector: Nullable(Type.String()),
  }),
  /** Targets that it came to. */
  selected: Type.Integer(),
});
export type RunSelection = Static<typeof RunSelectionSchema>;
