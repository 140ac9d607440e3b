// Every day of the span, those without runs too, so that a chart has them where they lie.
import type { JobStatistics } from '@opsconductor/protocol';

const dayMs = 86_400_000;

type Day = JobStatistics['byDay'][number];

/** The days of the span in UTC, oldest first. */
export function daysOf({ days, since, byDay }: Pick<JobStatistics, 'days' | 'since' | 'byDay'>): Day[] {
  const known = new Map(byDay.map((day) => [day.day, day]));
  const first = Math.floor(new Date(since).getTime() / dayMs);
  // A span that begins in the middle of a day touches one more.
  return Array.from({ length: days + 1 }, (_, at) => {
    const day = new Date((first + at) * dayMs).toISOString().slice(0, 10);
    return known.get(day) ?? { day, runs: 0, succeeded: 0, failed: 0, unknown: 0, p50Ms: null };
  });
}
