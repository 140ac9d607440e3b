// Audit rows in words: what they are about, what changed, and where the console shows it.
import type { AuditRow } from '@opsconductor/protocol';
import { paths } from '../../paths.ts';

/** Returns whether a row records something that was refused or failed, so that it stands out. */
export function isRefusal({ action }: Pick<AuditRow, 'action'>): boolean {
  return /(?:^|[._])(?:refused|failed|denied|quarantined|mismatch|missing)(?:$|[._])/.test(action);
}

/** The same as a word. */
export function refusalWord({ action }: Pick<AuditRow, 'action'>): string {
  return action.endsWith('_missing') ? 'missing' : 'refused';
}

/** Rows which say that the log itself was altered: those found by a server come before those reported by an agent. */
export const alterations = [
  { action: 'audit.row_missing' },
  { action: 'audit.checkpoint_refused', actorKind: 'system' },
  { action: 'audit.checkpoint_refused', actorKind: 'agent' },
] as const;

/** What was found about the log itself, and by whom: an agent only reports it. */
export function alteredWords({
  action,
  actorKind,
  actorName,
}: Pick<AuditRow, 'action' | 'actorKind' | 'actorName'>): string {
  if (action === 'audit.row_missing') return 'Rows that were sealed are missing.';
  return actorKind === 'agent'
    ? `Agent ${actorName} says that this is not the log that it saw before.`
    : 'This is not the log that the server saw before.';
}

/** `user 7`, or with the name from the detail: `user night-shift`. */
export function objectWords(row: Pick<AuditRow, 'objectKind' | 'objectId' | 'detail'>): string {
  if (row.objectKind === null) return '';
  const kind = row.objectKind.replaceAll('_', ' ');
  const name = nameIn(row.detail);
  if (typeof name === 'string' && name !== '') return `${kind} ${name}`;
  return row.objectId === null ? kind : `${kind} ${row.objectId}`;
}

/** A change has names in its old and new values. */
function nameIn({ name, to, from }: AuditRow['detail']): unknown {
  if (name !== undefined) return name;
  return (isRecord(to) && to.name) || (isRecord(from) && from.name);
}

/** Returns the page that shows what the row is about, or undefined if there is none. */
export function objectPath({
  objectKind,
  objectId,
}: Pick<AuditRow, 'objectKind' | 'objectId'>): string | undefined {
  const id = Number(objectId);
  if (!Number.isSafeInteger(id) || id <= 0) return undefined;
  const pages: Record<string, (id: number) => string> = {
    job: paths.job,
    run: (run) => paths.run(run),
    user: paths.user,
    user_group: paths.userGroup,
    agent: paths.agent,
    target_group: paths.targetGroup,
  };
  return objectKind === null ? undefined : pages[objectKind]?.(id);
}

/** The detail in one shortened line, without what the row already shows. For a change, only what differs. */
export function detailWords(detail: AuditRow['detail'], atMost = 160): string {
  const { from, to, name: _, ...said } = detail;
  const isChange = isRecord(from) && isRecord(to);
  const rest = isChange
    ? said
    : { ...said, ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
  const changes = isChange
    ? detailFields({ from, to }).flatMap((field) =>
        field.changed ? [`${field.name} ${field.from} → ${field.to}`] : [],
      )
    : [];
  const text = [...changes, ...Object.entries(rest).map(([key, value]) => `${key} ${short(value)}`)].join(
    ', ',
  );
  return text.length <= atMost ? text : `${text.slice(0, atMost - 1)}…`;
}

export interface DetailField {
  name: string;
  /** The old value of a change; undefined if the row records no change. */
  from: string | undefined;
  to: string;
  /** Whether it differs from the old value. */
  changed: boolean;
}

/** Returns the detail field by field; the `from` and `to` objects of a change become old and new values. */
export function detailFields(detail: AuditRow['detail']): DetailField[] {
  const { from, to, ...rest } = detail;
  const said = Object.entries(rest).map(([name, value]) => ({
    name,
    from: undefined,
    to: long(value),
    changed: false,
  }));
  if (from === undefined || to === undefined) {
    return [...said, ...plain('from', from), ...plain('to', to)];
  }
  if (!isRecord(from) || !isRecord(to)) {
    return [{ name: '', from: long(from), to: long(to), changed: long(from) !== long(to) }, ...said];
  }
  const names = [...new Set([...Object.keys(from), ...Object.keys(to)])];
  const changes = names.map((name) => {
    const [before, after] = [long(from[name]), long(to[name])];
    return { name, from: before, to: after, changed: before !== after };
  });
  // Changed fields first; the others are there for comparison.
  return [...changes.toSorted((a, b) => Number(b.changed) - Number(a.changed)), ...said];
}

function plain(name: string, value: unknown): DetailField[] {
  return value === undefined ? [] : [{ name, from: undefined, to: long(value), changed: false }];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function short(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(short).join(' ');
  if (isRecord(value)) return typeof value.name === 'string' ? value.name : `(${fieldsOf(value)})`;
  return value === '' || value === null ? long(value) : String(value);
}

/** What a record has in its fields; those without anything are left to the whole row. */
function fieldsOf(record: Record<string, unknown>): string {
  const said = Object.entries(record).filter(([, value]) => !isEmpty(value));
  return said.length === 0 ? 'none' : said.map(([name, value]) => `${name} ${short(value)}`).join(', ');
}

function isEmpty(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (isRecord(value)) return Object.values(value).every(isEmpty);
  return value === null || value === '' || value === 0;
}

function long(value: unknown): string {
  if (value === undefined || value === null) return 'none';
  if (typeof value === 'string') return value === '' ? 'empty' : value;
  return typeof value === 'object' ? JSON.stringify(value, null, 2) : String(value);
}
