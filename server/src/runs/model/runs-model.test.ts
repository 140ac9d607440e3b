// Whatever happens to runs, in any order, the invariants hold after each event, and every run ends once agents come
// back and people decide. OPSCONDUCTOR_MODEL_SECONDS=600 searches longer; a seed repeats a search.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { happenings, openRuns, type Real, timePasses } from './model-commands.ts';
import { type ModelWorld, setupWorld } from './model-world.ts';
import { RunInvariants } from './run-invariants.ts';

const seconds = Number(process.env.OPSCONDUCTOR_MODEL_SECONDS ?? 4);
const seed = process.env.OPSCONDUCTOR_MODEL_SEED;
const maxRounds = 60;
const minTries = 5;

/** Agents are back and do everything they are given. Nobody decides, so held steps reach their deadlines. */
async function playOut(world: ModelWorld, invariants: RunInvariants): Promise<void> {
  for (let round = 0; (await openRuns(world)).length > 0; round += 1) {
    if (round === maxRounds) throw new Error(`runs do not end: ${JSON.stringify(await openRuns(world))}`);
    for (const agent of world.agents) {
      if (!agent.connected || round === 0) await world.connect(agent, 'intact');
      const dropped = [...agent.journal.values()].filter(({ state }) => state === 'dropped');
      if (dropped.length > 0) await world.giveBack(agent, dropped);
      for (const [key, entry] of [...agent.journal]) {
        if (!agent.journal.has(key) || entry.after !== undefined) continue;
        if (entry.state === 'leased') await world.begin(agent, entry, true);
        if (entry.state !== 'finished') await world.finish(agent, entry, entry);
        await world.send(agent, entry, true);
      }
    }
    await world.t
      .sql`update job_run_steps set held_until = clock_timestamp() - interval '1 s' where status = 'held'`;
    await timePasses(world);
    await world.claim(true);
  }
  await invariants.check();
  await timePasses(world);
  expect(await world.t.sql`select * from lock_slots`).toEqual([]);
}

test('whatever happens to runs, nothing is counted wrong, run twice, left open or reopened', {
  timeout: 3_600_000,
}, async () => {
  await using world = await setupWorld();
  const invariants = new RunInvariants(world);
  const real: Real = { world, invariants };
  const endsAtMs = performance.now() + seconds * 1_000;
  let tries = 0;
  await fc.assert(
    fc.asyncProperty(fc.commands(happenings, { maxCommands: 60, size: 'max' }), async (commands) => {
      // A machine that is too slow to try as many as this in the time tries them all the same.
      if (tries >= minTries && performance.now() > endsAtMs) return;
      tries += 1;
      await world.reset();
      invariants.reset();
      await fc.asyncModelRun(() => ({ model: {}, real }), commands);
      await playOut(world, invariants);
    }),
    { numRuns: Math.max(minTries, seconds * 20), ...(seed === undefined ? {} : { seed: Number(seed) }) },
  );
});
