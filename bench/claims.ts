// Claims on empty tables, next to millions of ended steps, and while a transaction stays open. Separate from
// dispatch.ts because the history and the waiting take several times as long as that.
import { claimTimes } from './claim-times.ts';
import { writeReport } from './report.ts';
import { percentile } from './statistics.ts';

const goalSteps = 10_000_000;
const goalMinutes = 10;
// Smaller values finish within minutes, but the goals refer to the defaults; the report says which were used.
const finishedSteps = Number(process.env['BENCH_FINISHED_STEPS'] ?? goalSteps);
const snapshotMinutes = Number(process.env['BENCH_SNAPSHOT_MINUTES'] ?? goalMinutes);
const claims = Number(process.env['BENCH_CLAIMS'] ?? 2_000);
const claimsPerSecond = 50;

export async function benchClaims(): Promise<void> {
  const times = await claimTimes({ finishedSteps, claims, snapshotMinutes, claimsPerSecond });
  const [empty, full, snapshot] = [times.empty, times.full, times.snapshot].map((ms) =>
    percentile(ms, 99),
  ) as [number, number, number];
  const both = (ms: readonly number[], p99: number) =>
    `p50 ${percentile(ms, 50).toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`;
  const rows: [string, string, string][] = [
    ['a claim of 16 steps on empty tables', both(times.empty, empty), ''],
    [`beside ${finishedSteps} finished steps`, both(times.full, full), ''],
    [
      'p99 beside these ÷ that of empty tables',
      (full / empty).toFixed(2),
      `at most 1.2${finishedSteps < goalSteps ? `, beside ${goalSteps}` : ''}`,
    ],
    [
      `with a snapshot open for ${snapshotMinutes} min and ${times.churned} steps since`,
      both(times.snapshot, snapshot),
      '',
    ],
    [
      'p99 with that snapshot ÷ that of empty tables',
      (snapshot / empty).toFixed(2),
      `at most 3${snapshotMinutes < goalMinutes ? `, after ${goalMinutes} min` : ''}`,
    ],
  ];
  await writeReport({
    name: 'claims',
    title: 'Claims beside much history, and under an open snapshot',
    rows,
    notes: [
      `Claims by the product’s function, ${claims} on both databases in turns; then ${claimsPerSecond} a second while a transaction that has read stays open, of which the last ${claims} count. Without the index that finds runs by names of targets, which no claim reads.`,
      `Sizes are told by \`BENCH_FINISHED_STEPS\` (${goalSteps} unless told), \`BENCH_SNAPSHOT_MINUTES\` (${goalMinutes}) and \`BENCH_CLAIMS\` (2000).`,
    ],
  });
}
