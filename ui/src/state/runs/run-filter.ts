// Which runs are asked for: as it stands in the address, and as the API takes it.
import { type RunQuery, type RunStatus, runStatuses } from '@opsconductor/protocol';
import { type Span, spans } from '../audit/audit-filter.ts';

const texts = ['search', 'category', 'createdBy', 'target', 'version'] as const;
const ids = ['jobId', 'targetId'] as const;

export interface RunFilter {
  /** Part of the job's name. */
  search?: string;
  /** A category by its path, with all below it. */
  category?: string;
  /** With commas. */
  status?: string;
  /** Name of who started it. */
  createdBy?: string;
  /** Part of a target's name. */
  target?: string;
  /** Number, tag or channel. */
  version?: string;
  jobId?: number;
  targetId?: number;
  since?: Span;
  /** Days in UTC, `2026-11-25`, both included. */
  from?: string;
  to?: string;
  /** From the newest on unless told. */
  sort?: 'oldest';
}
/** Undefined takes a part of the filter away. */
export type RunFilterChange = { [Name in keyof RunFilter]?: RunFilter[Name] | undefined };

/** Reads a filter out of an address; what is not valid there is left out. */
export function readRunFilter(query: URLSearchParams): RunFilter {
  const filter: RunFilter = {};
  for (const name of texts) {
    const value = query.get(name) ?? '';
    if (value.trim() !== '') filter[name] = value;
  }
  for (const name of ids) {
    const value = query.get(name) ?? '';
    if (/^[1-9][0-9]{0,14}$/.test(value)) filter[name] = Number(value);
  }
  const statuses = statusesOf({ status: query.get('status') ?? '' });
  if (statuses.length > 0) filter.status = statuses.join(',');
  if (query.get('sort') === 'oldest') filter.sort = 'oldest';
  const [from, to] = [dayOf(query.get('from')), dayOf(query.get('to'))];
  if (from !== undefined) filter.from = from;
  if (to !== undefined) filter.to = to;
  const since = (Object.keys(spans) as Span[]).find((one) => one === query.get('since'));
  if (since !== undefined && from === undefined && to === undefined) filter.since = since;
  return filter;
}

export function statusesOf({ status = '' }: Pick<RunFilter, 'status'>): RunStatus[] {
  return status
    .split(',')
    .filter((one): one is RunStatus => (runStatuses as readonly string[]).includes(one));
}

function dayOf(text: string | null): string | undefined {
  if (text === null || !/^\d{4}-\d{2}-\d{2}$/.test(text)) return undefined;
  return Number.isNaN(Date.parse(`${text}T00:00:00Z`)) ? undefined : text;
}

/** What narrows the list; how it is sorted does not. */
export function narrowing(filter: RunFilter): (keyof RunFilter)[] {
  return (Object.keys(filter) as (keyof RunFilter)[]).filter(
    (name) => name !== 'sort' && filter[name] !== undefined,
  );
}

const dayMs = 86_400_000;

/** As the list takes it; spans count back from `now`, in ms. */
export function runQuery({ since, from, to, ...same }: RunFilter, now: number): RunQuery {
  const after =
    since === undefined ? from && `${from}T00:00:00.000Z` : new Date(now - spans[since]).toISOString();
  const before = to && new Date(Date.parse(`${to}T00:00:00Z`) + dayMs).toISOString();
  return {
    ...same,
    ...(after ? { createdAfter: after } : {}),
    ...(before ? { createdBefore: before } : {}),
  };
}
