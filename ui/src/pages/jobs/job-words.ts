// What the list says about a job's latest runs and about its filters.
import type { JobListItem, JobState, RunStatus } from '@opsconductor/protocol';
import { roundDuration } from '../../format/duration.ts';
import { statusWord } from '../../format/status.ts';

const open: readonly RunStatus[] = ['queued', 'running', 'cancelling', 'held'];

/** Median duration of the latest runs; empty if none has ended. */
export function medianWord(runs: JobListItem['lastRuns']): string {
  const took = runs.flatMap((run) => run.executionTimeMs ?? []).sort((a, b) => a - b);
  const middle = took[Math.floor(took.length / 2)];
  return middle === undefined ? '' : roundDuration(middle);
}

/** How many of the latest finished runs succeeded; as in statistics, cancelled ones don't count. */
export function successWord(runs: JobListItem['lastRuns']): string {
  const ended = runs.filter(({ status }) => status !== 'cancelled' && !open.includes(status));
  if (ended.length === 0) return '';
  const succeeded = ended.filter(({ status }) => status === 'succeeded');
  return `${Math.round((succeeded.length / ended.length) * 100)} %`;
}

export function labelsWord(labels: JobListItem['labels']): string {
  return Object.entries(labels)
    .map(([name, value]) => (value === '' ? name : `${name}=${value}`))
    .join(', ');
}

export interface ResultChoice {
  /** As in the filters. */
  results: string;
  word: string;
  /** The status whose shape and color it gets. */
  look: RunStatus;
}
/** The most used filters, trouble first. */
export const resultChoices: readonly ResultChoice[] = [
  { results: 'failed,timed_out', word: 'last run failed', look: 'failed' },
  { results: 'unknown', word: 'last run unknown', look: 'unknown' },
  { results: 'held', word: 'held now', look: 'held' },
  { results: 'queued,running,cancelling', word: 'running now', look: 'running' },
];
const moreResults: readonly [results: string, word: string][] = [
  ['partial', 'last run partial'],
  ['cancelled', 'last run cancelled'],
  ['succeeded', 'last run succeeded'],
  ['none', 'never run'],
];

export const allResults: readonly [results: string, word: string][] = [
  ...resultChoices.map(({ results, word }) => [results, word] as [string, string]),
  ...moreResults,
];

export function resultWord(results: string): string {
  const known = allResults.find(([one]) => one === results);
  return known?.[1] ?? results.split(',').map(statusWord).join(' or ');
}

export const stateWords: Record<JobState, string> = {
  active: 'Active',
  draft: 'Drafts',
  inactive: 'Inactive',
  archived: 'Archived',
};
