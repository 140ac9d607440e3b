// Options on the command line of `npm run faults`.
import { parseArgs } from 'node:util';
import { parseAim } from './choose-aim.ts';
import { type Aim, type FaultKind, faultKinds } from './plan-round.ts';
import { defaultResults } from './report.ts';

export const usage = `Usage:
  npm run faults -- [--seed N] [--rounds M] [--round K] [--only FAULT,FAULT] [--minutes T] [--parallel P] [--stop]
                    [--results FILE] [--aim auto|SHAPE:FAULT,FAULT]
  npm run faults -- --report [FILE …]     of the ledger and of these results
  npm run faults -- --keep FILE …         adds these results to the ledger
What each means: docs/faults.md`;

const maxParallel = 8;

export interface RoundOptions {
  seed: number;
  /** The first and the last round. */
  from: number;
  to: number;
  only: FaultKind[] | undefined;
  minutes: number | undefined;
  parallel: number;
  /** Stop after the first violation. */
  stop: boolean;
  results: string;
  aim: Aim | 'auto' | undefined;
}

export type Options =
  | { does: 'help' }
  | { does: 'report'; files: string[] }
  | { does: 'keep'; files: string[] }
  | { does: 'rounds'; rounds: RoundOptions };

/** Throws a one-line description of what is wrong. */
export function readOptions(args: string[]): Options {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      help: { type: 'boolean', short: 'h', default: false },
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
  if (values.help) return { does: 'help' };
  if (values.report) return { does: 'report', files: positionals };
  if (values.keep) return { does: 'keep', files: positionals };
  const [stray] = positionals;
  if (stray !== undefined)
    throw new Error(`found ${JSON.stringify(stray)}; rounds are told by options that begin with --`);
  const from = values.round === undefined ? 1 : whole('--round', values.round);
  const to = values.round === undefined ? whole('--rounds', values.rounds) : from;
  return {
    does: 'rounds',
    rounds: {
      seed: whole('--seed', values.seed),
      from,
      to,
      only: values.only?.split(',').map(kindOf),
      minutes: values.minutes === undefined ? undefined : whole('--minutes', values.minutes),
      parallel: Math.min(whole('--parallel', values.parallel), maxParallel, to - from + 1),
      stop: values.stop,
      results: values.results,
      aim: values.aim === undefined || values.aim === 'auto' ? values.aim : parseAim(values.aim),
    },
  };
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
