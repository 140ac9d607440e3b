// The fault harness as a command:
//   npm run faults -- --seed N --rounds M [--round K] [--only kind,kind] [--minutes T] [--parallel P] [--stop]
//                     [--results FILE] [--aim auto|SHAPE:FAULT,FAULT]
//   npm run faults -- --report [FILE …]     of the ledger and of these results
//   npm run faults -- --keep FILE …         adds these results to the ledger
import { inspect, parseArgs } from 'node:util';
import { isLostTypeQuery } from '../../server/src/store/database/connection.ts';
import { AimChooser, aimText, parseAim } from './choose-aim.ts';
import { Cluster } from './cluster.ts';
import { installRecorder } from './edge-recorder.ts';
import { type Aim, type FaultKind, faultKinds } from './plan-round.ts';
import { coverageSoFar, defaultResults, keepInLedger, recordRound, report, writeFindings } from './report.ts';
import { type RoundResult, runRound } from './run-round.ts';

// The driver's own: what the harness asks itself is met where it asks.
process.on('unhandledRejection', (error) => {
  if (isLostTypeQuery(error)) return;
  process.stderr.write(`nobody met ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(1);
});

const slowMs = 15_000;
/** Of a round that aims: agents are away for long in some. */
const slowAimedMs = 60_000;
const maxParallel = 8;

const say = (text: string) => process.stdout.write(`${text}\n`);
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '10' },
    round: { type: 'string' },
    only: { type: 'string' },
    minutes: { type: 'string' },
    parallel: { type: 'string', default: '1' },
    results: { type: 'string', default: defaultResults },
    stop: { type: 'boolean', default: false },
    aim: { type: 'string' },
    report: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
});

if (values.report) say(await report(positionals));
else if (values.keep) await keepInLedger(positionals);
else process.exitCode = (await main()) ? 0 : 1;

async function main(): Promise<boolean> {
  const seed = whole('--seed', values.seed);
  const from = values.round === undefined ? 1 : whole('--round', values.round);
  const to = values.round === undefined ? whole('--rounds', values.rounds) : from;
  const parallel = Math.min(whole('--parallel', values.parallel), maxParallel, to - from + 1);
  const untilMs =
    values.minutes === undefined ? Infinity : Date.now() + whole('--minutes', values.minutes) * 60_000;
  const only = values.only?.split(',').map(kindOf);
  const chooser = values.aim === 'auto' ? new AimChooser(await coverageSoFar(values.results)) : undefined;
  const aimed = values.aim === undefined || chooser !== undefined ? undefined : parseAim(values.aim);
  const nextAim = (): Aim | undefined => chooser?.next() ?? aimed;
  let isGood = true;
  let next = from;
  const systems = new Set<Cluster>();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      void Promise.all([...systems].map((system) => system.stop())).then(() => process.exit(1));
    });
  }

  const mayGoOn = () => next <= to && Date.now() < untilMs && (isGood || !values.stop);
  const one = async (system: Cluster, round: number): Promise<void> => {
    const aim = nextAim();
    const result = await runRound(system, { seed, round, only, aim }).catch((cause: unknown) => {
      const what = `round ${round}${aim === undefined ? '' : `, aimed ${aimText(aim)}`}`;
      throw new Error(`${what} could not be done`, { cause });
    });
    chooser?.add(result.coverage);
    await recordRound(values.results, result);
    say(summary(result));
    for (const { rule, text } of result.violations) say(`  ${rule}: ${text}`);
    const isSlow = result.ms > (result.aim === undefined ? slowMs : slowAimedMs);
    if (isSlow) say(`  slow: ${lastEnd(result)}`);
    if (isSlow || result.violations.length > 0) say(`  ${await writeFindings(system, result)}`);
    if (result.violations.length > 0) isGood = false;
  };
  /** Rounds on one system, and on a new one where the harness itself could not go on. */
  const work = async (first: Cluster): Promise<void> => {
    for (let system: Cluster | undefined = first; system !== undefined; ) {
      systems.add(system);
      try {
        await installRecorder(system.sql);
        while (mayGoOn()) {
          next += 1;
          await one(system, next - 1);
        }
      } catch (error) {
        isGood = false;
        say(`${seed}: a system is given up: ${inspect(error)}`);
      } finally {
        systems.delete(system);
        await system.stop();
      }
      system = mayGoOn() ? await Cluster.start(() => undefined) : undefined;
    }
  };
  // What is built for them is built once.
  const first = await Cluster.start(() => undefined);
  const others = Array.from({ length: parallel - 1 }, () => Cluster.start(() => undefined));
  await Promise.all([first, ...(await Promise.all(others))].map(work));
  return isGood;
}

function summary({ seed, round, aim, ms, phases, steps, attempts, ...result }: RoundResult): string {
  const { faults, takeOvers, violations } = result;
  const parts = Object.entries(phases)
    .filter(([, each]) => each >= 100)
    .map(([name, each]) => `${name} ${(each / 1000).toFixed(1)}`);
  const kinds = faults.map(({ kind }) => kind).join(', ');
  const end = violations.length === 0 ? 'good' : `${violations.length} VIOLATIONS`;
  const more = [
    ...(aim === undefined ? [] : [`aimed ${aimText(aim)}`]),
    ...(takeOvers === 0 ? [] : [`${takeOvers} taken over`]),
  ].map((text) => `, ${text}`);
  return `${seed}/${round}: ${(ms / 1000).toFixed(1)} s (${parts.join(', ')}), ${steps} steps, ${attempts} attempts${more.join('')}, ${kinds}: ${end}`;
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
