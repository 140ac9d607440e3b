// Inventories: lists of hosts kept elsewhere (a CSV file, Ansible, a program) that targets are imported from and kept in
// step with. An import is first planned, then applied whole or not at all.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { Changes, Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../common.ts';
import { Description, DisplayName } from '../text.ts';
import { TargetSettingsSchema } from './connection-settings.ts';
import { TargetGroupName } from './target-groups.ts';
import { CreateTargetRequestSchema, LabelsSchema, operatingSystems } from './targets.ts';

export const inventoryFormats = ['csv', 'ansible_ini', 'ansible_yaml', 'ansible_json', 'api'] as const;
export type InventoryFormat = (typeof inventoryFormats)[number];

/**
 * none: left out · labels: each becomes the label `group/<name>` · target_groups: the target is listed in the target
 * group of that name, which is made where it is missing; needs `target_groups.edit`.
 */
export const groupTreatments = ['none', 'labels', 'target_groups'] as const;
export type GroupTreatment = (typeof groupTreatments)[number];
export const csvDelimiters = [',', ';', '\t'] as const;

export const InventoryOptionsSchema = Closed({
  /** What becomes of the groups that the inventory puts hosts in. */
  groups: Type.Optional(Type.Enum(groupTreatments, { default: 'labels' })),
  /** Ansible variables that become labels of their name; secrets are refused. */
  labelVariables: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 63, pattern: '^[A-Za-z_][A-Za-z0-9_]*$' }), {
      maxItems: 32,
      uniqueItems: true,
    }),
  ),
  /** What stands between the fields of a CSV file. */
  delimiter: Type.Optional(Type.Enum(csvDelimiters, { default: ',' })),
});
export type InventoryOptions = Static<typeof InventoryOptionsSchema>;

export const InventorySchema = Type.Object({
  id: Id,
  name: Type.String(),
  format: Type.Enum(inventoryFormats),
  /** Where hosts go that name no segment; null: each must name one. */
  segmentId: Nullable(Id),
  segmentName: Nullable(Type.String()),
  options: InventoryOptionsSchema,
  /** Targets of it that the caller may see. */
  targetCount: Type.Integer(),
  createdAt: Timestamp,
  lastAppliedAt: Nullable(Timestamp),
});
export type Inventory = Static<typeof InventorySchema>;
export const InventoryPageSchema = Page(InventorySchema);

export const CreateInventoryRequestSchema = Closed({
  name: DisplayName(),
  format: Type.Enum(inventoryFormats),
  segmentId: Type.Optional(Nullable(Id)),
  options: Type.Optional(InventoryOptionsSchema),
});
export type CreateInventoryRequest = Static<typeof CreateInventoryRequestSchema>;
/** What is left out stays as it is. The format stays. */
export const UpdateInventoryRequestSchema = Changes({
  name: Type.Optional(DisplayName()),
  segmentId: Type.Optional(Nullable(Id)),
  options: Type.Optional(InventoryOptionsSchema),
});
export type UpdateInventoryRequest = Static<typeof UpdateInventoryRequestSchema>;

export const DeleteInventoryQuerySchema = Closed({
  /** Needed for one that has targets: they stay, as if made by hand. */
  targets: Type.Optional(Type.Literal('keep')),
});

const target = CreateTargetRequestSchema.properties;
/** What an inventory may say of the connection; the other settings of a target are not its business. */
const { protocol, username, connect_timeout, keepalive_interval } = TargetSettingsSchema.properties;
/** One host of an inventory. What it doesn't say is left to the target, its groups and its segment. */
export const ImportedHostSchema = Closed({
  /** Names the host in its segment for as long as the inventory has it; the name unless told. */
  key: Type.Optional(DisplayName(200)),
  name: target.name,
  host: target.host,
  /** Name of a segment; the inventory's own unless told. */
  segment: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
  port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535 })),
  operatingSystem: Type.Optional(Type.Enum(operatingSystems)),
  description: Type.Optional(Description(1000)),
  labels: Type.Optional(LabelsSchema),
  groups: Type.Optional(Type.Array(TargetGroupName, { maxItems: 100, uniqueItems: true })),
  settings: Type.Optional(Closed({ protocol, username, connect_timeout, keepalive_interval })),
});
export type ImportedHost = Static<typeof ImportedHostSchema>;

/**
 * Which targets that are there already, under the segment and name of an imported host, become the inventory's: none,
 * those made by hand, or also those of other inventories. The others are conflicts.
 */
export const adoptions = ['none', 'by_hand', 'any'] as const;
export type Adoption = (typeof adoptions)[number];
/** What becomes of the inventory's targets that it no longer names. */
export const goneTreatments = ['keep', 'deactivate', 'delete'] as const;
export type GoneTreatment = (typeof goneTreatments)[number];

const InventoryFileSchema = Closed({
  path: Type.String({
    minLength: 1,
    maxLength: 255,
    pattern: '^(?!/)(?!.*(?:^|/)\\.{1,2}(?:/|$))[^\\u0000-\\u001f\\u007f\\\\]+$',
    description: 'Below the inventory’s folder, with slashes: `hosts.ini`, `group_vars/web.yml`',
  }),
  content: Type.String({ maxLength: limits.maxInventoryBytes }),
});
export type InventoryFile = Static<typeof InventoryFileSchema>;

export const PlanInventoryRequestSchema = Closed({
  /** The inventory itself and, of an Ansible inventory, what is in its `group_vars` and `host_vars`. */
  files: Type.Array(InventoryFileSchema, { minItems: 1, maxItems: limits.maxInventoryFiles }),
  adopt: Type.Optional(Type.Enum(adoptions, { default: 'none' })),
});
export type PlanInventoryRequest = Static<typeof PlanInventoryRequestSchema>;
export const ApplyPlanRequestSchema = Closed({ gone: Type.Enum(goneTreatments) });

/** All hosts of an inventory of format `api`. */
export const PutInventoryTargetsRequestSchema = Closed({
  hosts: Type.Array(ImportedHostSchema, { maxItems: limits.maxInventoryHosts }),
  adopt: Type.Optional(Type.Enum(adoptions, { default: 'none' })),
  /** Applies the plan at once, unless there are conflicts. Without it the plan is only made. */
  apply: Type.Optional(ApplyPlanRequestSchema),
});
export type PutInventoryTargetsRequest = Static<typeof PutInventoryTargetsRequestSchema>;

/** left_out: the host is not imported · dropped: a setting is not carried over · note: carried over, but look at it. */
export const findingKinds = ['left_out', 'dropped', 'note'] as const;
export const FindingSchema = Type.Object({
  kind: Type.Enum(findingKinds),
  file: Type.String(),
  /** Null where it is about no line. */
  line: Nullable(Type.Integer()),
  /** One sentence or two: what it is and what to do. Never a secret. */
  message: Type.String(),
});
export type Finding = Static<typeof FindingSchema>;

export const planActions = ['create', 'update', 'unchanged', 'gone', 'conflict'] as const;
export type PlanAction = (typeof planActions)[number];
/**
 * duplicate: named twice by the inventory · by_hand, other_inventory: a target of that name is there already and is not
 * to be adopted · name_taken: it is to be renamed to a name that another target has · too_many_labels: with those that
 * people gave it.
 */
export const conflictReasons = [
  'duplicate',
  'by_hand',
  'other_inventory',
  'name_taken',
  'too_many_labels',
] as const;
export type ConflictReason = (typeof conflictReasons)[number];
const FieldValue = Nullable(Type.Union([Type.String(), Type.Integer(), Type.Boolean()]));
export const FieldChangeSchema = Type.Object({
  /** `name`, `host`, `port`, `operatingSystem`, `description`, `isActive`, `labels.env`, `settings.username`, `groups.web`. */
  field: Type.String(),
  /** Null: not there. Of a group true: listed in it. */
  from: FieldValue,
  to: FieldValue,
});
export type FieldChange = Static<typeof FieldChangeSchema>;
export const InventoryPlanItemSchema = Type.Object({
  action: Type.Enum(planActions),
  name: Type.String(),
  host: Type.String(),
  segmentId: Id,
  segmentName: Type.String(),
  /** Null for what is to be created. */
  targetId: Nullable(Id),
  /** Field by field; of what is to be created all that it will have. */
  changes: Type.Array(FieldChangeSchema),
  /** By hand, or by which other inventory it was made; null when it is this inventory's, or new. */
  adoptedFrom: Nullable(Type.String()),
  /** Accepted host keys that are forgotten because host or port become others. */
  forgottenHostKeys: Type.Integer(),
  conflict: Nullable(Type.Object({ reason: Type.Enum(conflictReasons), message: Type.String() })),
  /** Where the inventory names it; null for what is gone. */
  file: Nullable(Type.String()),
  line: Nullable(Type.Integer()),
});
export type InventoryPlanItem = Static<typeof InventoryPlanItemSchema>;

export const PlanCountsSchema = Type.Object({
  create: Type.Integer(),
  update: Type.Integer(),
  unchanged: Type.Integer(),
  gone: Type.Integer(),
  conflict: Type.Integer(),
  adopted: Type.Integer(),
  /** Targets whose accepted host keys are forgotten. */
  forgottenHostKeys: Type.Integer(),
});
export type PlanCounts = Static<typeof PlanCountsSchema>;

const planHead = {
  id: Type.String(),
  inventoryId: Id,
  createdAt: Timestamp,
  createdBy: Nullable(Type.String()),
  /** It can't be applied any more after this. */
  expiresAt: Timestamp,
  appliedAt: Nullable(Timestamp),
  /** How it was applied. */
  gone: Nullable(Type.Enum(goneTreatments)),
  counts: PlanCountsSchema,
  findingCount: Type.Integer(),
};
export const InventoryPlanSchema = Type.Object({
  ...planHead,
  /** The first of them, in the order of the files. */
  findings: Type.Array(FindingSchema),
  /** Target groups that will be made. */
  newGroups: Type.Array(Type.String()),
  /** Ansible variables that nothing was made of, the most used first: `labelVariables` makes labels of them. */
  unusedVariables: Type.Array(Type.Object({ name: Type.String(), count: Type.Integer() })),
  items: Type.Array(InventoryPlanItemSchema),
  nextCursor: Nullable(Type.String()),
});
export type InventoryPlan = Static<typeof InventoryPlanSchema>;
/** A plan without what it is about. */
export const InventoryPlanHeadSchema = Type.Object(planHead);
export type InventoryPlanHead = Static<typeof InventoryPlanHeadSchema>;
export const InventoryPlanHeadsSchema = Type.Object({ items: Type.Array(InventoryPlanHeadSchema) });
export const InventoryPlanQuerySchema = Closed({
  ...pageQuery,
  action: Type.Optional(Type.Enum(planActions)),
  /** A part of name or host. */
  search: Type.Optional(Type.String({ maxLength: 100 })),
});
