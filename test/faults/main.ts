// The fault harness as a command: see `usage`.
import { inspect } from 'node:util';
import { isLostTypeQuery } from '../../server/src/store/database/connection.ts';
import { AimChooser, aimText } from './choose-aim.ts';
import { Cluster } from './cluster.ts';
import { installRecorder } from './edge-recorder.ts';
import { type Options, type RoundOptions, readOptions, usage } from './options.ts';
import type { Aim } from './plan-round.ts';
import { coverageSoFar, keepInLedger, recordRound, report, writeFindings, writeLogs } from './report.ts';
import { type RoundResult, runRound } from './run-round.ts';

// From the database driver itself; errors of the harness's own queries are handled where they occur.
process.on('unhandledRejection', (error) => {
  if (isLostTypeQuery(error)) return;
  process.stderr.write(`nobody met ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(1);
});

const slowMs = 15_000;
/** For an aimed round: in some, agents are away for long. */
const slowAimedMs = 60_000;

const say = (text: string) => process.stdout.write(`${text}\n`);
const options = optionsOrEnd();
if (options.does === 'help') say(usage);
else if (options.does === 'report') say(await report(options.files));
else if (options.does === 'keep') await keepInLedger(options.files);
else process.exitCode = (await runRounds(options.rounds)) ? 0 : 1;

function optionsOrEnd(): Options {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${usage}\n`);
    process.exit(2);
  }
}

async function runRounds({
  seed,
  from,
  to,
  only,
  parallel,
  results,
  ...rest
}: RoundOptions): Promise<boolean> {
  const untilMs = rest.minutes === undefined ? Infinity : Date.now() + rest.minutes * 60_000;
  const chooser = rest.aim === 'auto' ? new AimChooser(await coverageSoFar(results)) : undefined;
  const aimed = rest.aim === 'auto' ? undefined : rest.aim;
  const nextAim = (): Aim | undefined => chooser?.next() ?? aimed;
  let isGood = true;
  let next = from;
  const systems = new Set<Cluster>();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      void Promise.all([...systems].map((system) => system.stop())).then(() => process.exit(1));
    });
  }

  const mayGoOn = () => next <= to && Date.now() < untilMs && (isGood || !rest.stop);
  const one = async (system: Cluster, round: number): Promise<void> => {
    const aim = nextAim();
    const result = await runRound(system, { seed, round, only, aim }).catch((cause: unknown) => {
      const what = `round ${round}${aim === undefined ? '' : `, aimed ${aimText(aim)}`}`;
      throw new Error(`${what} could not be done`, { cause });
    });
    chooser?.add(result.coverage);
    await recordRound(results, result);
    say(summary(result));
    for (const { rule, text } of result.violations) say(`  ${rule}: ${text}`);
    const isSlow = result.ms > (result.aim === undefined ? slowMs : slowAimedMs);
    if (isSlow) say(`  slow: ${lastEnd(result)}`);
    if (isSlow || result.violations.length > 0) say(`  ${await writeFindings(system, result)}`);
    if (result.violations.length > 0) isGood = false;
  };
  /** Runs rounds on one system, and on a new one if the harness itself could not continue. */
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
        say(`  ${await writeLogs(system, seed)}`);
      } finally {
        systems.delete(system);
        await system.stop();
      }
      system = mayGoOn() ? await Cluster.start(() => undefined) : undefined;
    }
  };
  // The first start builds the programs for all.
  const first = await Cluster.start(() => undefined);
  const others = Array.from({ length: parallel - 1 }, () => Cluster.start(() => undefined));
  await Promise.all([first, ...(await Promise.all(others))].map(work));
  return isGood;
}

function summary({ seed, round, aim, ms, phases, steps, attempts, ...result }: RoundResult): string {
  const { faults, takeOvers, hostCancels, violations } = result;
  const parts = Object.entries(phases)
    .filter(([, each]) => each >= 100)
    .map(([name, each]) => `${name} ${(each / 1000).toFixed(1)}`);
  const kinds = faults.map(({ kind }) => kind).join(', ');
  const end = violations.length === 0 ? 'good' : `${violations.length} VIOLATIONS`;
  const more = [
    ...(aim === undefined ? [] : [`aimed ${aimText(aim)}`]),
    ...(takeOvers === 0 ? [] : [`${takeOvers} taken over`]),
    ...(hostCancels === 0 ? [] : [`${hostCancels} hosts cancelled`]),
  ].map((text) => `, ${text}`);
  return `${seed}/${round}: ${(ms / 1000).toFixed(1)} s (${parts.join(', ')}), ${steps} steps, ${attempts} attempts${more.join('')}, ${kinds}: ${end}`;
}

/** What a slow round waited for. */
function lastEnd({ facts }: RoundResult): string {
  const edge = facts?.edges.filter(({ kind }) => kind === 'step').at(-1);
  const step = facts?.steps.find(({ id }) => id === edge?.rowId);
  return JSON.stringify({ edge, step });
}
