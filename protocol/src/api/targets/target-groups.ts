// Target groups: a list of targets, the targets that a selector matches, or both, minus exclusions. Rights and
// connection settings can be given on them.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { Changes, Closed, Id, Nullable, pageQuery, Timestamp } from '../schema-parts.ts';
import { Description } from '../text.ts';
import { InheritedSettingsSchema } from './connection-settings.ts';
import { SelectorText } from './selection.ts';

export const TargetGroupName = Type.String({
  minLength: 1,
  maxLength: 100,
  pattern: '^[A-Za-z0-9]([A-Za-z0-9_. /-]*[A-Za-z0-9])?$',
  description: 'Letters, digits, spaces, dots, slashes, hyphens and underscores',
});

export const TargetGroupSchema = Type.Object({
  id: Id,
  name: Type.String(),
  description: Type.String(),
  /** Members that the caller may see. */
  memberCount: Type.Integer(),
  /** Whether the caller may see the fields below; otherwise they are empty. */
  isWhole: Type.Boolean(),
  selector: Nullable(Type.String()),
  /**
   * If two groups give the same setting, the one with the higher priority wins; if equal, the name that sorts first.
   */
  priority: Type.Integer(),
  settings: InheritedSettingsSchema,
  credentials: Type.Array(
    Type.Object({
      segmentId: Id,
      segmentName: Type.String(),
      credentialId: Type.String(),
      credentialName: Type.String(),
    }),
  ),
  listedCount: Type.Integer(),
  excludedCount: Type.Integer(),
  createdAt: Timestamp,
  updatedAt: Timestamp,
});
export type TargetGroup = Static<typeof TargetGroupSchema>;

const TargetIds = Type.Array(Id, { maxItems: limits.maxTargetsPerRun, uniqueItems: true });
const groupFields = {
  description: Type.Optional(Description(1000)),
  /** `null`: only the listed targets. */
  selector: Type.Optional(Nullable(SelectorText)),
  priority: Type.Optional(Type.Integer({ minimum: -1_000_000, maximum: 1_000_000 })),
  settings: Type.Optional(InheritedSettingsSchema),
  /** One for each segment, because a credential is sealed to one segment. */
  credentials: Type.Optional(
    Type.Array(Closed({ segmentId: Id, credentialId: Type.String({ format: 'uuid' }) }), { maxItems: 1000 }),
  ),
  /** Members in addition to those that the selector matches. */
  targetIds: Type.Optional(TargetIds),
  /** Never members, even if the selector matches them. */
  excludedTargetIds: Type.Optional(TargetIds),
};
export const CreateTargetGroupRequestSchema = Closed({ name: TargetGroupName, ...groupFields });
/** Omitted fields stay as they are. In `expected`, the order of lists makes no difference. */
export const UpdateTargetGroupRequestSchema = Changes({
  name: Type.Optional(TargetGroupName),
  ...groupFields,
});
export type CreateTargetGroupRequest = Static<typeof CreateTargetGroupRequestSchema>;
export type UpdateTargetGroupRequest = Static<typeof UpdateTargetGroupRequestSchema>;
export const TargetGroupQuerySchema = Closed({
  ...pageQuery,
  search: Type.Optional(Type.String({ maxLength: 100 })),
});
export const GroupEntrySchema = Type.Object({
  targetId: Id,
  name: Type.String(),
  segmentId: Id,
  segmentName: Type.String(),
  excluded: Type.Boolean(),
});
export type GroupEntry = Static<typeof GroupEntrySchema>;
export const GroupEntryQuerySchema = Closed({ ...pageQuery, excluded: Type.Optional(Type.Boolean()) });
