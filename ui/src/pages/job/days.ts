// Fills in the days without runs, so that a chart has them in the right place.
import type { JobStatistics } from '@opsconductor/protocol';

const dayMs = 86_400_000;

type Day = JobStatistics['byDay'][number];

/** Returns the days of the span in UTC, oldest first. */
export function daysOf({ days, since, byDay }: Pick<JobStatistics, 'days' | 'since' | 'byDay'>): Day[] {
  const known = new Map(byDay.map((day) => [day.day, day]));
  const first = Math.floor(new Date(since).getTime() / dayMs);
  // A span that begins in the middle of a day touches one day more.
  return Array.from({ length: days + 1 }, (_, at) => {
    const day = new Date((first + at) * dayMs).toISOString().slice(0, 10);
    return known.get(day) ?? { day, runs: 0, succeeded: 0, failed: 0, unknown: 0, p50Ms: null };
  });
}
