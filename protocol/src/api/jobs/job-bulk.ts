// One action on many jobs: on all of them, or on none.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { Closed, Id } from '../common.ts';
import { LabelName, LabelsSchema } from '../targets/targets.ts';
import { descriptionPattern } from '../text.ts';
import { CategoryPath } from './categories.ts';
import { jobFilters } from './jobs.ts';

export const bulkJobActions = [
  'activate',
  'deactivate',
  'archive',
  'restore',
  'categorise',
  'label',
  'unlabel',
  'delete',
] as const;
export type BulkJobAction = (typeof bulkJobActions)[number];
export const BulkJobRequestSchema = Closed({
  /** One of `ids` and `filter`. */
  ids: Type.Optional(Type.Array(Id, { minItems: 1, maxItems: limits.maxJobsPerBulk, uniqueItems: true })),
  filter: Type.Optional(Closed(jobFilters)),
  action: Type.Enum(bulkJobActions),
  /** For `categorise`. */
  category: Type.Optional(CategoryPath()),
  /** For `label`. */
  labels: Type.Optional(LabelsSchema),
  /** For `unlabel`. */
  labelNames: Type.Optional(Type.Array(LabelName, { minItems: 1, maxItems: 64, uniqueItems: true })),
  note: Type.Optional(Type.String({ maxLength: 1_000, pattern: descriptionPattern })),
  /** Says what would be done and does nothing. */
  dryRun: Type.Optional(Type.Boolean()),
});
export type BulkJobRequest = Static<typeof BulkJobRequestSchema>;
export const BulkJobReplySchema = Type.Object({
  selected: Type.Integer(),
  /** Of these, those that differ afterwards. */
  changed: Type.Integer(),
  dryRun: Type.Boolean(),
  /** Of those that change the first 200, by name, with what they are before and after. */
  plan: Type.Array(Type.Object({ id: Id, name: Type.String(), before: Type.String(), after: Type.String() })),
  /** What keeps the action from being done, of a dry run; without it such a request is refused. */
  obstacles: Type.Array(Type.Object({ id: Id, name: Type.String(), message: Type.String() })),
});
export type BulkJobReply = Static<typeof BulkJobReplySchema>;
