// A fixed round of the fault harness; `npm run faults` runs any number of rounds (docs/faults.md).
import { expect, test } from 'vitest';
import { Cluster } from './cluster.ts';
import { installRecorder } from './edge-recorder.ts';
import { writeFindings } from './report.ts';
import { runRound } from './run-round.ts';

/** Including the start of the system, about as much as the suite can afford. */
const rounds = [{ seed: 7, round: 18 }];

test('the invariants hold, whatever is done to the system', { timeout: 180_000 }, async () => {
  const cluster = await Cluster.start(() => undefined);
  try {
    await installRecorder(cluster.sql);
    for (const { seed, round } of rounds) {
      const result = await runRound(cluster, { seed, round });
      if (result.violations.length > 0) await writeFindings(cluster, result);
      expect(result.violations).toEqual([]);
      expect(result.steps).toBeGreaterThanOrEqual(50);
      expect(Object.keys(result.coverage).length).toBeGreaterThan(0);
    }
  } finally {
    await cluster.stop();
  }
});
