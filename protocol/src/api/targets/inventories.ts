// Inventories: lists of hosts kept elsewhere (a CSV file, Ansible, a program) from which targets are imported and kept
// up to date. An import is first planned, then applied as a whole or not at all.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { Changes, Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../schema-parts.ts';
import { Description, DisplayName } from '../text.ts';
import { TargetSettingsSchema } from './connection-settings.ts';
import { TargetGroupName } from './target-groups.ts';
import { CreateTargetRequestSchema, LabelsSchema, operatingSystems } from './targets.ts';

export const inventoryFormats = ['csv', 'ansible_ini', 'ansible_yaml', 'ansible_json', 'api'] as const;
export type InventoryFormat = (typeof inventoryFormats)[number];

/**
 * - `none`: groups are ignored.
 * - `labels`: each group becomes the label `group/<name>`.
 * - `target_groups`: the target is listed in the target group of that name, which is created if it doesn't exist. This
 *   needs `target_groups.edit`.
 */
export const groupTreatments = ['none', 'labels', 'target_groups'] as const;
export type GroupTreatment = (typeof groupTreatments)[number];
export const csvDelimiters = [',', ';', '\t'] as const;

export const InventoryOptionsSchema = Closed({
  /** What happens to the groups that the inventory puts hosts in. */
  groups: Type.Optional(Type.Enum(groupTreatments, { default: 'labels' })),
  /** Ansible variables that become labels of the same name; secrets are refused. */
  labelVariables: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 63, pattern: '^[A-Za-z_][A-Za-z0-9_]*$' }), {
      maxItems: 32,
      uniqueItems: true,
    }),
  ),
  /** Separator of the fields of a CSV file. */
  delimiter: Type.Optional(Type.Enum(csvDelimiters, { default: ',' })),
});
export type InventoryOptions = Static<typeof InventoryOptionsSchema>;

export const InventorySchema = Type.Object({
  id: Id,
  name: Type.String(),
  format: Type.Enum(inventoryFormats),
  /** Segment for hosts that name none; `null`: each host must name one. */
  segmentId: Nullable(Id),
  segmentName: Nullable(Type.String()),
  options: InventoryOptionsSchema,
  /** Targets of the inventory that the caller may see. */
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
/** Omitted fields stay as they are. The format can't be changed. */
export const UpdateInventoryRequestSchema = Changes({
  name: Type.Optional(DisplayName()),
  segmentId: Type.Optional(Nullable(Id)),
  options: Type.Optional(InventoryOptionsSchema),
});
export type UpdateInventoryRequest = Static<typeof UpdateInventoryRequestSchema>;

export const DeleteInventoryQuerySchema = Closed({
  /** Required if the inventory has targets: they stay, as if they had been made by hand. */
  targets: Type.Optional(Type.Literal('keep')),
});

const target = CreateTargetRequestSchema.properties;
/** The connection settings that an inventory may give; it has no say in a target's other settings. */
const { protocol, username, connect_timeout, keepalive_interval } = TargetSettingsSchema.properties;
/** One host of an inventory. What it omits is left to the target, its groups and its segment. */
export const ImportedHostSchema = Closed({
  /** Identifies the host in its segment as long as the inventory has it; by default the name. */
  key: Type.Optional(DisplayName(200)),
  name: target.name,
  host: target.host,
  /** Name of a segment; by default the inventory's own. */
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
 * Which existing targets with the segment and name of an imported host become the inventory's: none, those made by
 * hand, or also those of other inventories. All others are conflicts.
 */
export const adoptions = ['none', 'by_hand', 'any'] as const;
export type Adoption = (typeof adoptions)[number];
/** What happens to the inventory's targets that it no longer names. */
export const goneTreatments = ['keep', 'deactivate', 'delete'] as const;
export type GoneTreatment = (typeof goneTreatments)[number];

const InventoryFileSchema = Closed({
  path: Type.String({
    minLength: 1,
    maxLength: 255,
    pattern: '^(?!/)(?!.*(?:^|/)\\.{1,2}(?:/|$))[^\\u0000-\\u001f\\u007f\\\\]+$',
    description: 'Path relative to the inventory’s folder, with slashes: `hosts.ini`, `group_vars/web.yml`',
  }),
  content: Type.String({ maxLength: limits.maxInventoryBytes }),
});
export type InventoryFile = Static<typeof InventoryFileSchema>;

export const PlanInventoryRequestSchema = Closed({
  /** The inventory itself and, for an Ansible inventory, the content of its `group_vars` and `host_vars`. */
  files: Type.Array(InventoryFileSchema, { minItems: 1, maxItems: limits.maxInventoryFiles }),
  adopt: Type.Optional(Type.Enum(adoptions, { default: 'none' })),
});
export type PlanInventoryRequest = Static<typeof PlanInventoryRequestSchema>;
export const ApplyPlanRequestSchema = Closed({ gone: Type.Enum(goneTreatments) });

/** The complete list of hosts of an inventory with the format `api`. */
export const PutInventoryTargetsRequestSchema = Closed({
  hosts: Type.Array(ImportedHostSchema, { maxItems: limits.maxInventoryHosts }),
  adopt: Type.Optional(Type.Enum(adoptions, { default: 'none' })),
  /** Applies the plan at once, unless there are conflicts. Without it, the plan is only made. */
  apply: Type.Optional(ApplyPlanRequestSchema),
});
export type PutInventoryTargetsRequest = Static<typeof PutInventoryTargetsRequestSchema>;

/**
 * - `left_out`: the host is not imported.
 * - `dropped`: a setting is not carried over.
 * - `note`: carried over, but should be reviewed.
 */
export const findingKinds = ['left_out', 'dropped', 'note'] as const;
export const FindingSchema = Type.Object({
  kind: Type.Enum(findingKinds),
  file: Type.String(),
  /** `null` if it isn't about a line. */
  line: Nullable(Type.Integer()),
  /** One or two sentences: what it is and what to do. Never contains a secret. */
  message: Type.String(),
});
export type Finding = Static<typeof FindingSchema>;

export const planActions = ['create', 'update', 'unchanged', 'gone', 'conflict'] as const;
export type PlanAction = (typeof planActions)[number];
/**
 * - `duplicate`: the inventory names it twice.
 * - `by_hand`, `other_inventory`: a target of that name already exists and is not to be adopted.
 * - `name_taken`: it would be renamed to a name that another target has.
 * - `too_many_labels`: together with those that people gave it.
 */
export const conflictReasons = [
  'duplicate',
  'by_hand',
  'other_inventory',
  'name_taken',
  'too_many_labels',
] as const;
const FieldValue = Nullable(Type.Union([Type.String(), Type.Integer(), Type.Boolean()]));
export const FieldChangeSchema = Type.Object({
  /** Such as `name`, `host`, `isActive`, `labels.env`, `settings.username` or `groups.web`. */
  field: Type.String(),
  /** `null`: not present. For a group, `true`: listed in it. */
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
  /** `null` for a target that would be created. */
  targetId: Nullable(Id),
  /** Field by field; for a target that would be created, everything it will have. */
  changes: Type.Array(FieldChangeSchema),
  /**
   * Where an adopted target came from: made by hand, or the name of another inventory. `null` if it is already this
   * inventory's, or new.
   */
  adoptedFrom: Nullable(Type.String()),
  /** Accepted host keys that are forgotten because host or port changes. */
  forgottenHostKeys: Type.Integer(),
  conflict: Nullable(Type.Object({ reason: Type.Enum(conflictReasons), message: Type.String() })),
  /** Where the inventory names it; `null` for targets that are gone. */
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
  /** It can't be applied after this time. */
  expiresAt: Timestamp,
  appliedAt: Nullable(Timestamp),
  /** The choice with which it was applied. */
  gone: Nullable(Type.Enum(goneTreatments)),
  counts: PlanCountsSchema,
  findingCount: Type.Integer(),
};
export const InventoryPlanSchema = Type.Object({
  ...planHead,
  /** The first findings, in the order of the files. */
  findings: Type.Array(FindingSchema),
  /** Target groups that would be created. */
  newGroups: Type.Array(Type.String()),
  /** Ansible variables that were not used, most frequent first: `labelVariables` turns them into labels. */
  unusedVariables: Type.Array(Type.Object({ name: Type.String(), count: Type.Integer() })),
  items: Type.Array(InventoryPlanItemSchema),
  nextCursor: Nullable(Type.String()),
});
export type InventoryPlan = Static<typeof InventoryPlanSchema>;
/** A plan without its content. */
export const InventoryPlanHeadSchema = Type.Object(planHead);
export type InventoryPlanHead = Static<typeof InventoryPlanHeadSchema>;
export const InventoryPlanHeadsSchema = Type.Object({ items: Type.Array(InventoryPlanHeadSchema) });
export const InventoryPlanQuerySchema = Closed({
  ...pageQuery,
  action: Type.Optional(Type.Enum(planActions)),
  /** Part of the name or host. */
  search: Type.Optional(Type.String({ maxLength: 100 })),
});
