// Results of rounds: a record of each in a file, a report over all of them, and all details of one that went wrong.
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import {
  aimText,
  type Coverage,
  missingMeetings,
  neverMet,
  wantedEdges,
  wantedMeetings,
} from './choose-aim.ts';
import type { Cluster } from './cluster.ts';
import { faultKinds } from './plan-round.ts';
import type { RoundResult } from './run-round.ts';
import { patiently } from './waiting.ts';

const folder = resolve(import.meta.dirname, '../../.cache/faults');
/** Results of all rounds so far, kept with the code. */
const ledger = join(import.meta.dirname, 'ledger.json');
export const defaultResults = join(folder, 'rounds.jsonl');
const tailChars = 40_000;

interface RoundRecord
  extends Pick<
    RoundResult,
    'seed' | 'round' | 'ms' | 'phases' | 'steps' | 'attempts' | 'lines' | 'coverage'
  > {
  aim?: string;
  /** Missing in records from before it was counted. */
  takeOvers?: number;
  hostCancels?: number;
  faults: string[];
  violations: string[];
}

/** Appends a round to a file of results. */
export async function recordRound(file: string, result: RoundResult): Promise<void> {
  const { seed, round, aim, ms, phases, steps, attempts, lines, takeOvers, hostCancels, coverage } = result;
  const record: RoundRecord = {
    seed,
    round,
    ms,
    phases,
    steps,
    attempts,
    lines,
    takeOvers,
    hostCancels,
    coverage,
    ...(aim === undefined ? {} : { aim: aimText(aim) }),
    faults: result.faults.map(({ kind }) => kind),
    violations: result.violations.map(({ rule, text }) => `${rule}: ${text}`),
  };
  await mkdir(dirname(file), { recursive: true });
  await appendFile(file, `${JSON.stringify(record)}\n`);
}

/** Combined results of many rounds. */
interface Totals {
  rounds: number;
  steps: number;
  attempts: number;
  minutes: number;
  /** Commands that another agent took over. */
  takeOvers?: number;
  /** Accepted requests to cancel one host. */
  hostCancels?: number;
  /** Rounds by seed. */
  seeds: Record<string, number>;
  faults: Record<string, number>;
  /** By fault and edge, how often that status change occurred while that fault was in force. */
  coverage: Coverage;
  /** Rounds with violations, as seed/round, and the violations. */
  violations: Record<string, string[]>;
}

/** Adds the rounds in these files to the ledger, which is kept with the code. */
export async function keepInLedger(files: readonly string[]): Promise<void> {
  const totals = addRounds(await readLedger(), await readRounds(files));
  await writeFile(ledger, `${JSON.stringify(totals, undefined, 2)}\n`);
}

/** Returns the report over the ledger and all rounds in these files, as Markdown. */
export async function report(files: readonly string[]): Promise<string> {
  const totals = addRounds(await readLedger(), await readRounds(files));
  const sum = Object.values(totals.faults).reduce((all, times) => all + times, 0);
  return [
    `${totals.rounds} rounds, ${totals.steps} steps, ${totals.attempts} attempts, ${sum} faults, ` +
      `${totals.takeOvers ?? 0} take-overs, ${totals.hostCancels ?? 0} hosts cancelled, ${Math.round(totals.minutes)} minutes; ${Object.keys(totals.violations).length} rounds with violations.`,
    '',
    '| fault | times |',
    '|---|--:|',
    ...faultKinds.map((kind) => `| ${kind} | ${totals.faults[kind] ?? 0} |`),
    '',
    ...matrixLines(totals),
    '',
    ...missingLines(totals),
  ].join('\n');
}

async function readLedger(): Promise<Totals> {
  return JSON.parse(await readFile(ledger, 'utf8')) as Totals;
}

async function readRounds(files: readonly string[]): Promise<RoundRecord[]> {
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  return texts
    .flatMap((text) => text.split('\n'))
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as RoundRecord);
}

function addRounds(before: Totals, rounds: readonly RoundRecord[]): Totals {
  const totals = structuredClone(before);
  for (const { seed, round, steps, attempts, ms, faults, coverage, violations, ...more } of rounds) {
    totals.takeOvers = (totals.takeOvers ?? 0) + (more.takeOvers ?? 0);
    totals.hostCancels = (totals.hostCancels ?? 0) + (more.hostCancels ?? 0);
    totals.rounds += 1;
    totals.steps += steps;
    totals.attempts += attempts;
    totals.minutes += ms / 60_000;
    add(totals.seeds, String(seed), 1);
    for (const kind of faults) add(totals.faults, kind, 1);
    for (const [kind, row] of Object.entries(coverage)) {
      totals.coverage[kind] ??= {};
      for (const [edge, times] of Object.entries(row)) add(totals.coverage[kind], edge, times);
    }
    if (violations.length > 0) totals.violations[`${seed}/${round}`] = violations;
  }
  totals.minutes = Math.round(totals.minutes * 10) / 10;
  return totals;
}

function add(counts: Record<string, number>, name: string, times: number): void {
  counts[name] = (counts[name] ?? 0) + times;
}

function matrixLines({ coverage }: Totals): string[] {
  const met = Object.values(coverage).flatMap((row) => Object.keys(row));
  const edges = new Set([...wantedEdges, ...met]);
  return [
    `| edge | ${faultKinds.join(' | ')} |`,
    `|---|${faultKinds.map(() => '--:').join('|')}|`,
    ...[...edges].sort().map((edge) => {
      const cells = faultKinds.map((kind) => coverage[kind]?.[edge] ?? 0);
      return `| ${edge.replace('>', ' → ')} | ${cells.join(' | ')} |`;
    }),
  ];
}

function missingLines({ coverage }: Totals): string[] {
  const cells = wantedEdges.flatMap((edge) => faultKinds.map((kind) => ({ edge, kind })));
  const missing = cells.filter(({ edge, kind }) => missingMeetings(coverage, kind, edge) > 0);
  const never = wantedEdges.filter((edge) =>
    faultKinds.every((kind) => coverage[kind]?.[edge] === undefined),
  );
  return [
    `${cells.length - missing.length} of ${cells.length} meetings came about ${wantedMeetings} times or more.`,
    ...(never.length === 0 ? [] : ['', `Never yet: ${never.join(', ')}.`]),
    '',
    '| allowed by the table, and met by nothing | why |',
    '|---|---|',
    ...Object.entries(neverMet).map(([edge, why]) => `| ${edge.replace('>', ' → ')} | ${why} |`),
  ];
}

/** Returns the coverage of the ledger and of the rounds in this file, if it exists. */
export async function coverageSoFar(file: string): Promise<Coverage> {
  const rounds = await readRounds([file]).catch(() => []);
  return addRounds(await readLedger(), rounds).coverage;
}

/** Stack traces are long and all alike. */
function shortened(log: string): string {
  return log.replaceAll(/"stack":"(?:[^"\\\\]|\\\\.)*"/g, '"stack":"…"');
}

/** Writes the latest output of a system's programs to a file, and returns its name. */
export async function writeLogs(cluster: Cluster, seed: number): Promise<string> {
  const file = join(folder, `logs-${seed}-${Date.now()}.txt`);
  await mkdir(folder, { recursive: true });
  await writeFile(file, logsOf(cluster).join('\n'));
  return file;
}

function logsOf({ servers, agents }: Cluster): string[] {
  return [...servers, ...agents].flatMap(({ program }) => [
    `\n== ${program.name}`,
    shortened(program.log.slice(-tailChars)),
  ]);
}

/** Writes all details of a round with violations to a file, and returns its name. */
export async function writeFindings(cluster: Cluster, result: RoundResult): Promise<string> {
  const { seed, round, aim, violations, faults, facts } = result;
  const at = (ms: number) => new Date(ms).toISOString().slice(11);
  const runIds = new Set(violations.map(({ runId }) => runId));
  const stepIds = new Set(violations.map(({ stepId }) => stepId));
  const edges = facts?.edges ?? [];
  const lines = [
    `seed ${seed}, round ${round}: npm run faults -- --seed ${seed} --round ${round}${aim === undefined ? '' : ` --aim ${aimText(aim)}`}`,
    ...violations.map(({ rule, text }) => `VIOLATION ${rule}: ${text}`),
    '\n== faults',
    ...faults.map(({ fault, fromMs, toMs }) => `${at(fromMs)} to ${at(toMs)} ${JSON.stringify(fault)}`),
    '\n== runs',
    ...(facts?.runs ?? [])
      .filter(({ id }) => runIds.has(id))
      .map((run) => JSON.stringify({ ...run, events: undefined })),
    '\n== what holds them',
    ...(await patiently(() => whatHolds(cluster, runIds))),
    '\n== steps of these runs',
    ...(facts?.steps ?? [])
      .filter(({ jobRunId }) => runIds.has(jobRunId))
      .map((step) => JSON.stringify(step)),
    '\n== changes of these runs',
    ...edges
      .filter(({ runId }) => runIds.has(runId))
      .map(({ at: when, ...edge }) => `${at(when.getTime())} ${JSON.stringify(edge)}`),
    '\n== events of these runs',
    ...(facts?.runs ?? [])
      .filter(({ id }) => runIds.has(id))
      .flatMap((run) => run.events.map((event) => `${run.id} ${JSON.stringify(event)}`)),
    ...[...cluster.servers, ...cluster.agents].flatMap(({ program }) => [
      `\n== ${program.name}, what it says of these steps`,
      ...program.log
        .split('\n')
        .filter((line) => [...stepIds].some((id) => id !== undefined && line.includes(String(id)))),
      `\n== ${program.name}`,
      shortened(program.log.slice(-tailChars)),
    ]),
  ];
  await mkdir(folder, { recursive: true });
  const file = join(folder, `findings-${seed}-${round}.txt`);
  await writeFile(file, lines.join('\n'));
  return file;
}

/** Returns the rows that decide whether a step is leased, as they are now. */
async function whatHolds({ sql }: Cluster, runIds: ReadonlySet<number | undefined>): Promise<string[]> {
  const ids = [...runIds].filter((id) => id !== undefined);
  const rows = await Promise.all([
    sql`select id, status, start_by, locks, strategy, halted_reason from job_runs where id = any(${ids}::bigint[])`,
    sql`select id, job_run_id, status, not_before, waits_lock, has_locks from job_run_steps
      where job_run_id = any(${ids}::bigint[]) and status in ('ready', 'held', 'running') order by id`,
    sql`select s.lock_key, s.slot, s.job_run_id, t.status from lock_slots s
      join job_run_targets t on t.id = s.target_run_id order by s.lock_key, s.slot`,
    sql`select lock_key, wanted_by from locks order by lock_key`,
    sql`select *, clock_timestamp() as now from agent_sessions order by agent_id`,
  ]);
  return rows.flat().map((row) => JSON.stringify(row));
}
