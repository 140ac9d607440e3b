// Selects targets: by id, by target group and by selector, minus exclusions. Resolved when a run starts; the run also
// keeps the selection as it was given.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { Closed, Id, Nullable, pageQuery } from '../schema-parts.ts';

export const SelectorText = Type.String({
  minLength: 1,
  maxLength: limits.maxSelectorLength,
  description: 'Selector: `segment:dmz-1 os=linux env in (prod, stage) !canary`',
});
const TargetIds = Type.Array(Id, {
  minItems: 1,
  maxItems: limits.maxTargetsPerRun,
  uniqueItems: true,
  description: 'Ids of targets, in any segments',
});
const GroupIds = Type.Array(Id, { minItems: 1, maxItems: 100, uniqueItems: true });
/**
 * At least one of `targetIds`, `groupIds` and `selector`: everything that any of them names, minus what `exclude`
 * names.
 */
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
  /** The job to run: the check then includes the rights on its category, its connection settings and its step types. */
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
/** For a segment whose agents run only what is signed. */
export const SegmentSigningSchema = Type.Object({
  agents: Type.Array(Type.Object({ id: Id, name: Type.String() })),
  /** Whether each agent runs only what is signed for that agent alone. */
  oneAgent: Type.Boolean(),
});
export const SelectTargetsReplySchema = Type.Object({
  /** All selected targets, whether or not they can be run on. Inactive targets are selected only by id. */
  total: Type.Integer(),
  runnable: Type.Integer(),
  segments: Type.Array(
    Type.Object({
      id: Id,
      name: Type.String(),
      count: Type.Integer(),
      runnable: Type.Integer(),
      signing: Type.Optional(SegmentSigningSchema),
      /** It has agents, but none that could take a step now: what is started there has to wait. */
      waitsForAgent: Type.Optional(Type.Literal(true)),
    }),
  ),
  problems: Type.Array(
    Type.Object({
      problem: Type.Enum(selectionProblems),
      /** One sentence: what the problem is and what to do. */
      message: Type.String(),
      count: Type.Integer(),
      /** The first few names. */
      targets: Type.Array(Type.String()),
    }),
  ),
  /** Credentials that would be used, by segment: those of the targets, and those that the job's steps name. */
  credentials: Type.Optional(
    Type.Array(Type.Object({ name: Type.String(), segmentName: Type.String(), count: Type.Integer() })),
  ),
  /** Targets without an accepted host key: steps there fail with `host_key_unknown`. */
  withoutHostKey: Type.Optional(Type.Integer()),
  /** Likely mistakes in a selector, such as a label that no target has. */
  notes: Type.Array(Type.String()),
  items: Type.Array(SelectedTargetSchema),
  nextCursor: Nullable(Type.String()),
});
export type SelectTargetsReply = Static<typeof SelectTargetsReplySchema>;

/** How a run's targets were selected, as kept in the run. Names are those of that time. */
export const RunSelectionSchema = Type.Object({
  /** Number of targets given by id. */
  targets: Type.Integer(),
  groups: Type.Array(Type.Object({ id: Id, name: Type.String() })),
  selector: Nullable(Type.String()),
  exclude: Type.Object({
    targets: Type.Integer(),
    groups: Type.Array(Type.Object({ id: Id, name: Type.String() })),
    selector: Nullable(Type.String()),
  }),
  /** Number of targets that were selected. */
  selected: Type.Integer(),
});
export type RunSelection = Static<typeof RunSelectionSchema>;
