// The filter of the list of runs: as it is in the address, and as the API takes it.
import { type RunQuery, type RunStatus, runStatuses } from '@opsconductor/protocol';
import { type Span, spans } from '../audit/audit-filter.ts';

const texts = ['search', 'category', 'createdBy', 'target', 'version'] as const;
const ids = ['jobId', 'targetId'] as const;

export interface RunFilter {
  /** Part of the job's name. */
  search?: string;
  /** Path of a category; includes all below it. */
  category?: string;
  /** Statuses, separated by commas. */
  status?: string;
  /** Name of the person who started the run. */
  createdBy?: string;
  /** Part of a target's name. */
  target?: string;
  /** Version of the job: number, tag or channel. */
  version?: string;
  jobId?: number;
  targetId?: number;
  since?: Span;
  /** First and last day, both included, in UTC: `2026-11-25`. */
  from?: string;
  to?: string;
  /** Newest first if undefined. */
  sort?: 'oldest';
}
/** `undefined` removes a part of the filter. */
export type RunFilterChange = { [Name in keyof RunFilter]?: RunFilter[Name] | undefined };

/** Reads a filter from an address, without what is not valid there. */
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

/** Returns the parts that narrow the list: all that are set except the sort order. */
export function narrowing(filter: RunFilter): (keyof RunFilter)[] {
  return (Object.keys(filter) as (keyof RunFilter)[]).filter(
    (name) => name !== 'sort' && filter[name] !== undefined,
  );
}

const dayMs = 86_400_000;

/** Returns the filter as the list takes it. A span counts back from `now` (ms since the epoch). */
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
