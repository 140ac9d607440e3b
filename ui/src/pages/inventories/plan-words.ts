// Inventory plans in words.
import type {
  FieldChange,
  Finding,
  GoneTreatment,
  Inventory,
  InventoryFormat,
  InventoryPlanHead,
  PlanAction,
} from '@opsconductor/protocol';
import { count, counted } from '../../format/quantity.ts';

export const formatWords: Record<InventoryFormat, string> = {
  csv: 'CSV',
  ansible_ini: 'Ansible, INI',
  ansible_yaml: 'Ansible, YAML',
  ansible_json: 'Ansible, JSON',
  api: 'sent by a program',
};

const actionLooks: Record<PlanAction, { look: string; word: string }> = {
  conflict: { look: 'failed', word: 'conflict' },
  gone: { look: 'held', word: 'gone' },
  create: { look: 'ready', word: 'create' },
  update: { look: 'partial', word: 'update' },
  unchanged: { look: 'succeeded', word: 'unchanged' },
};
/** After it was applied. */
const doneLooks: typeof actionLooks = {
  ...actionLooks,
  create: { look: 'succeeded', word: 'created' },
  update: { look: 'succeeded', word: 'updated' },
};
const goneLooks: Record<GoneTreatment, { look: string; word: string }> = {
  keep: { look: 'held', word: 'gone, kept' },
  deactivate: { look: 'cancelled', word: 'deactivated' },
  delete: { look: 'cancelled', word: 'deleted' },
};

/** How the actions of a plan are shown: as what it would do or, once it is applied, as what it did. */
export function looksOf({
  appliedAt,
  gone,
}: Pick<InventoryPlanHead, 'appliedAt' | 'gone'>): typeof actionLooks {
  if (appliedAt === null) return actionLooks;
  return gone === null ? doneLooks : { ...doneLooks, gone: goneLooks[gone] };
}

/** What needs a person comes first. */
export const actionOrder = [
  'conflict',
  'gone',
  'create',
  'update',
  'unchanged',
] as const satisfies readonly PlanAction[];

export const findingWords: Record<Finding['kind'], string> = {
  left_out: 'left out',
  dropped: 'not carried over',
  note: 'note',
};

export const goneWords: Record<GoneTreatment, { word: string; consequence: string }> = {
  keep: {
    word: 'Keep them',
    consequence: 'They stay as they are, and are listed as gone again in the next plan.',
  },
  deactivate: {
    word: 'Deactivate them',
    consequence: 'No run uses them; they are activated again if the inventory names them again.',
  },
  delete: {
    word: 'Delete them',
    consequence:
      'Their labels, settings and accepted host keys are deleted too. Refused while an open run has work on one of them.',
  },
};

/** A field as people call it. */
export function fieldWords(field: string): string {
  if (field.startsWith('labels.')) return `label ${field.slice(7)}`;
  if (field.startsWith('groups.')) return `group ${field.slice(7)}`;
  if (field === 'settings.username') return 'user name';
  if (field === 'operatingSystem') return 'system';
  if (field === 'isActive') return 'active';
  return field.replace(/^settings\./, '').replaceAll('_', ' ');
}

export function valueWords(value: FieldChange['from']): string {
  if (value === null) return 'none';
  if (value === '') return 'set';
  return typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value);
}

/** `host 10.0.0.1 → 10.0.0.2`; only the new value if there was none before. */
export function changeWords({ field, from, to }: FieldChange, isNew: boolean): string {
  if (field.startsWith('groups.'))
    return `${to === true ? 'added to' : 'removed from'} group ${field.slice(7)}`;
  const name = fieldWords(field);
  // A label without a value is there or not.
  if (to === '' && (isNew || from === null)) return isNew ? name : `${name} added`;
  if (from === '' && to === null) return `${name} removed`;
  return isNew ? `${name} ${valueWords(to)}` : `${name} ${valueWords(from)} → ${valueWords(to)}`;
}

/** What applying a plan has done: `12 created, 3 updated, 2 deactivated`. */
export function doneWords({ counts, gone }: Pick<InventoryPlanHead, 'counts' | 'gone'>): string {
  const parts = [
    ...(counts.create > 0 ? [`${count(counts.create)} created`] : []),
    ...(counts.update > 0 ? [`${count(counts.update)} updated`] : []),
    ...(counts.gone > 0
      ? [
          `${count(counts.gone)} gone, ${gone === 'delete' ? 'deleted' : gone === 'deactivate' ? 'deactivated' : 'kept'}`,
        ]
      : []),
  ];
  return parts.length === 0 ? 'nothing to do' : parts.join(', ');
}

/** Text of the button that applies a plan. */
export function applyWords({ counts }: Pick<InventoryPlanHead, 'counts'>, gone: GoneTreatment): string {
  const changes = counts.create + counts.update + (gone === 'keep' ? 0 : counts.gone);
  return changes === 0 ? 'Apply: nothing changes' : `Apply to ${counted(changes, 'target')}`;
}

export function segmentWords({ segmentName }: Pick<Inventory, 'segmentName'>): string {
  return segmentName ?? 'as each host names it';
}
