// The filter of the list of jobs: as it is in the address, and as the API takes it.
import {
  type BulkJobRequest,
  type JobQuery,
  type JobSort,
  type JobState,
  jobSorts,
  jobStates,
  runStatuses,
} from '@opsconductor/protocol';
import { type Span, spans } from '../audit/audit-filter.ts';

const texts = ['search', 'category', 'label', 'stepType', 'author'] as const;
const lastResults: readonly string[] = [...runStatuses, 'none'];

/** Which time of a job the span of time applies to. */
export type JobMoment = 'changed' | 'created';

export interface JobFilter {
  search?: string;
  /** Path of a category; includes all below it. */
  category?: string;
  /** `name` or `name=value`. */
  label?: string;
  stepType?: string;
  state?: JobState;
  /** Name of the job's creator. */
  author?: string;
  /** Statuses, separated by commas; `none` for jobs that were never run. */
  lastResult?: string;
  template?: 'yes' | 'no';
  /** Id of the template that the job was made from. */
  madeFrom?: number;
  when?: JobMoment;
  since?: Span;
  /** First and last day, both included, in UTC: `2026-11-25`. */
  from?: string;
  to?: string;
  /** By name if undefined. */
  sort?: Exclude<JobSort, 'name'>;
}
/** `undefined` removes a part of the filter. */
export type JobFilterChange = { [Name in keyof JobFilter]?: JobFilter[Name] | undefined };

/** Reads a filter from an address, without what is not valid there. */
export function readJobFilter(query: URLSearchParams): JobFilter {
  const filter: JobFilter = {};
  for (const name of texts) {
    const value = query.get(name) ?? '';
    if (value.trim() !== '') filter[name] = value;
  }
  const state = jobStates.find((one) => one === query.get('state'));
  if (state !== undefined) filter.state = state;
  const results = (query.get('lastResult') ?? '').split(',').filter((one) => lastResults.includes(one));
  if (results.length > 0) filter.lastResult = results.join(',');
  const template = (['yes', 'no'] as const).find((one) => one === query.get('template'));
  if (template !== undefined) filter.template = template;
  const madeFrom = query.get('madeFrom') ?? '';
  if (/^[1-9][0-9]{0,14}$/.test(madeFrom)) filter.madeFrom = Number(madeFrom);
  const sort = jobSorts.find((one) => one === query.get('sort'));
  if (sort !== undefined && sort !== 'name') filter.sort = sort;
  return { ...filter, ...timeOf(query) };
}

function timeOf(query: URLSearchParams): Pick<JobFilter, 'when' | 'since' | 'from' | 'to'> {
  const when = (['changed', 'created'] as const).find((one) => one === query.get('when'));
  if (when === undefined) return {};
  const from = dayOf(query.get('from'));
  const to = dayOf(query.get('to'));
  if (from !== undefined || to !== undefined) {
    return { when, ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
  }
  const since = (Object.keys(spans) as Span[]).find((one) => one === query.get('since'));
  return since === undefined ? {} : { when, since };
}

function dayOf(text: string | null): string | undefined {
  if (text === null || !/^\d{4}-\d{2}-\d{2}$/.test(text)) return undefined;
  const day = new Date(`${text}T00:00:00Z`);
  return Number.isNaN(day.getTime()) ? undefined : text;
}

/** Returns the parts that narrow the list: all that are set except the sort order. */
export function narrowing(filter: JobFilter): (keyof JobFilter)[] {
  return (Object.keys(filter) as (keyof JobFilter)[]).filter(
    (name) => name !== 'sort' && filter[name] !== undefined,
  );
}

type ApiFilter = NonNullable<BulkJobRequest['filter']>;
const dayMs = 86_400_000;

/**
 * Returns the filter as lists, bulk actions and exports take it. A span counts back from `now` (ms since the epoch).
 */
export function apiFilter(filter: JobFilter, now: number): ApiFilter {
  const { when, since, from, to, sort: _, template, search, ...same } = filter;
  const after =
    since === undefined ? from && `${from}T00:00:00.000Z` : new Date(now - spans[since]).toISOString();
  const before = to && new Date(Date.parse(`${to}T00:00:00Z`) + dayMs).toISOString();
  const [afterName, beforeName] =
    when === 'created'
      ? (['createdAfter', 'createdBefore'] as const)
      : (['updatedAfter', 'updatedBefore'] as const);
  return {
    ...same,
    ...(search === undefined || search.trim() === '' ? {} : { search: search.trim() }),
    ...(template === undefined ? {} : { template: template === 'yes' }),
    ...(after ? { [afterName]: after } : {}),
    ...(before ? { [beforeName]: before } : {}),
  };
}

/** Returns the filter as the list takes it, with its sort order. */
export function jobQuery(filter: JobFilter, now: number): JobQuery {
  return { ...apiFilter(filter, now), ...(filter.sort === undefined ? {} : { sort: filter.sort }) };
}
