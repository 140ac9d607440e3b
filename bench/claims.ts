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
    [`on tables with ${finishedSteps} finished steps`, both(times.full, full), ''],
    [
      'p99 with these ÷ p99 on empty tables',
      (full / empty).toFixed(2),
      `at most 1.2${finishedSteps < goalSteps ? `, with ${goalSteps}` : ''}`,
    ],
    [
      `with a snapshot open for ${snapshotMinutes} min and ${times.churned} steps since`,
      both(times.snapshot, snapshot),
      '',
    ],
    [
      'p99 with that snapshot ÷ p99 on empty tables',
      (snapshot / empty).toFixed(2),
      `at most 3${snapshotMinutes < goalMinutes ? `, after ${goalMinutes} min` : ''}`,
    ],
  ];
  await writeReport({
    name: 'claims',
    title: 'Claims with a large history, and with an open snapshot',
    rows,
    notes: [
      `Claims by the product’s function: ${claims} on each database, alternating; then ${claimsPerSecond} a second while a transaction that has read something stays open, of which the last ${claims} count. The index that finds runs by the names of their targets is left out, as no claim reads it.`,
      `\`BENCH_FINISHED_STEPS\` (default ${goalSteps}), \`BENCH_SNAPSHOT_MINUTES\` (${goalMinutes}) and \`BENCH_CLAIMS\` (2000) set the sizes.`,
    ],
  });
}
