// The filter of the audit log: as it is in the address, and as the API takes it.
import { type AuditActorKind, type AuditQuery, auditActorKinds } from '@opsconductor/protocol';

const texts = ['actor', 'action', 'objectKind', 'objectId', 'address', 'text'] as const;
const ids = ['segmentId', 'categoryId'] as const;
const moments = ['from', 'to'] as const;

/** Common spans of time, in ms. A filter has one of these, or `from` and `to`. */
export const spans = {
  '1h': 3_600_000,
  '24h': 86_400_000,
  '7d': 7 * 86_400_000,
  '30d': 30 * 86_400_000,
} as const;
export type Span = keyof typeof spans;
export const spanWords: Record<Span, string> = {
  '1h': 'the last hour',
  '24h': 'the last 24 hours',
  '7d': 'the last 7 days',
  '30d': 'the last 30 days',
};

export interface AuditFilter {
  actor?: string;
  actorKind?: AuditActorKind;
  action?: string;
  objectKind?: string;
  objectId?: string;
  address?: string;
  text?: string;
  segmentId?: number;
  categoryId?: number;
  since?: Span;
  /** Time in UTC (RFC 3339), to the minute or finer. */
  from?: string;
  to?: string;
}

/** `undefined` removes a part of the filter. */
export type AuditFilterChange = { [Name in keyof AuditFilter]?: AuditFilter[Name] | undefined };

/** Reads a filter from an address, without what is not valid there. */
export function readAuditFilter(query: URLSearchParams): AuditFilter {
  const filter: AuditFilter = {};
  for (const name of texts) {
    const value = query.get(name)?.trim() ?? '';
    if (value !== '') filter[name] = value;
  }
  for (const name of ids) {
    const value = query.get(name) ?? '';
    if (/^[1-9][0-9]{0,14}$/.test(value)) filter[name] = Number(value);
  }
  for (const name of moments) {
    const value = query.get(name) ?? '';
    if (value !== '' && !Number.isNaN(Date.parse(value))) filter[name] = new Date(value).toISOString();
  }
  const kind = auditActorKinds.find((one) => one === query.get('actorKind'));
  if (kind !== undefined) filter.actorKind = kind;
  const since = (Object.keys(spans) as Span[]).find((one) => one === query.get('since'));
  if (since !== undefined && filter.from === undefined && filter.to === undefined) filter.since = since;
  return filter;
}

export function isEmptyFilter(filter: AuditFilter): boolean {
  return Object.values(filter).every((value) => value === undefined);
}

/** Returns the filter as the API takes it. A span counts back from `now` (ms since the epoch). */
export function auditQuery({ since, action, ...filter }: AuditFilter, now: number): AuditQuery {
  return {
    ...filter,
    // Actions are lowercase; someone who types capitals means the same.
    ...(action === undefined ? {} : { action: action.toLowerCase().replace(/[^a-z0-9_.]/g, '') }),
    ...(since === undefined ? {} : { from: new Date(now - spans[since]).toISOString() }),
  };
}

/** Converts the value of a date field, `2026-11-24T02:14` in UTC, to RFC 3339; undefined if empty or invalid. */
export function fromDateField(text: string): string | undefined {
  if (text === '') return undefined;
  const date = new Date(`${text}Z`);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

/** Converts an RFC 3339 time in UTC to the value of a date field. */
export function toDateField(moment: string | undefined): string {
  return moment === undefined ? '' : moment.slice(0, 16);
}
