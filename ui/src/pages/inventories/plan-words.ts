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

export const actionLooks: Record<PlanAction, { look: string; word: string }> = {
  conflict: { look: 'failed', word: 'conflict' },
  gone: { look: 'held', word: 'gone' },
  create: { look: 'ready', word: 'create' },
  update: { look: 'partial', word: 'update' },
  unchanged: { look: 'succeeded', word: 'unchanged' },
};
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

function valueWords(value: FieldChange['from']): string {
  if (value === null) return 'none';
  if (value === '') return 'set';
  return typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value);
}

/** `host 10.0.0.1 → 10.0.0.2`; only the new value if there was none before. */
export function changeWords({ field, from, to }: FieldChange, isNew: boolean): string {
  if (field.startsWith('groups.'))
    return `${to === true ? 'added to' : 'removed from'} group ${field.slice(7)}`;
  return isNew ? `${field} ${valueWords(to)}` : `${field} ${valueWords(from)} → ${valueWords(to)}`;
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
