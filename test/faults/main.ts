// The fault harness as a command:
//   npm run faults -- --seed N --rounds M [--round K] [--only kind,kind] [--minutes T] [--stop] [--report]
import { parseArgs } from 'node:util';
import { Cluster } from './cluster.ts';
import { installRecorder } from './edge-recorder.ts';
import { type FaultKind, faultKinds } from './plan-round.ts';
import { recordRound, report, writeFindings } from './report.ts';
import { type RoundResult, runRound } from './run-round.ts';

const say = (text: string) => process.stdout.write(`${text}\n`);
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '10' },
    round: { type: 'string' },
    only: { type: 'string' },
    minutes: { type: 'string' },
    stop: { type: 'boolean', default: false },
    report: { type: 'boolean', default: false },
  },
});

const slowMs = 30_000;

if (values.report) say(await report());
else process.exitCode = (await main()) ? 0 : 1;

async function main(): Promise<boolean> {
  const seed = whole('--seed', values.seed);
  const from = values.round === undefined ? 1 : whole('--round', values.round);
  const to = values.round === undefined ? whole('--rounds', values.rounds) : from;
  const untilMs =
    values.minutes === undefined ? Infinity : Date.now() + whole('--minutes', values.minutes) * 60_000;
  const only = values.only?.split(',').map(kindOf);
  const cluster = await Cluster.start(() => undefined);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void cluster.stop().then(() => process.exit(1)));
  }
  let isGood = true;
  try {
    await installRecorder(cluster.sql);
    for (let round = from; round <= to && Date.now() < untilMs; round += 1) {
      const result = await runRound(cluster, { seed, round, only });
      await recordRound(result);
      say(summary(result));
      if (result.ms > slowMs) say(`  slow: ${lastEnd(result)}`);
      if (result.violations.length === 0) continue;
      isGood = false;
      for (const { rule, text } of result.violations) say(`  ${rule}: ${text}`);
      say(`  ${await writeFindings(cluster, result)}`);
      if (values.stop) break;
    }
  } finally {
    await cluster.stop();
  }
  return isGood;
}

function summary({ seed, round, ms, steps, attempts, faults, violations }: RoundResult): string {
  const kinds = faults.map(({ kind }) => kind).join(', ');
  const end = violations.length === 0 ? 'good' : `${violations.length} VIOLATIONS`;
  return `${seed}/${round}: ${(ms / 1000).toFixed(1)} s, ${steps} steps, ${attempts} attempts, ${kinds}: ${end}`;
}

/** What a round waited for that took long. */
function lastEnd({ facts }: RoundResult): string {
  const edge = facts?.edges.filter(({ kind }) => kind === 'step').at(-1);
  const step = facts?.steps.find(({ id }) => id === edge?.rowId);
  return JSON.stringify({ edge, step });
}

function whole(name: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new Error(`${name}: found ${JSON.stringify(text)}; allowed: a whole number`);
}

function kindOf(text: string): FaultKind {
  const kind = faultKinds.find((each) => each === text);
  if (kind !== undefined) return kind;
  throw new Error(`--only: found ${JSON.stringify(text)}; allowed: ${faultKinds.join(', ')}`);
}
