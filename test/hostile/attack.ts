// What one kind of hostile client does, and what must happen to it.
import type { Prng } from '../faults/prng.ts';
import { Line, type LineEnd } from './line.ts';

export interface Field {
  port: number;
  /** A valid API token. */
  token: string;
  /** A run whose stored output is large. */
  runId: number;
  /** The data directory of an agent that is enrolled but not running. */
  agentDir: string;
  random: Prng;
}

export interface Attack {
  name: string;
  /**
   * The time within which each connection is answered or closed; `undefined` for one that does nothing that must end.
   */
  boundMs: number | undefined;
  /** Carries out the attack until `untilMs`, and returns what it opened. */
  run(field: Field): Promise<Tally> | Tally;
}

/** What happened to its connections. */
export interface Tally {
  lines: Line[];
  /** Further requests on the same connections, by status. */
  statuses?: Map<number, number>;
}

export interface Result {
  name: string;
  opened: number;
  /** By status of the answer; 0 for those without one. */
  statuses: [number, number][];
  /** Connections still open and unanswered when the time was up. */
  left: number;
  longestMs: number;
}

/** Carries out an attack for as long as its connections last, at least `leastMs` and at most its bound. */
export async function carryOut(attack: Attack, field: Field, leastMs: number): Promise<Result> {
  const beganMs = performance.now();
  const { lines, statuses: more } = await attack.run(field);
  const allEnded = Promise.all(lines.map((line) => line.ended)).then(() => undefined);
  await Promise.race([allEnded, delay(attack.boundMs ?? leastMs)]);
  await delay(Math.max(0, leastMs - (performance.now() - beganMs)));
  const ends = lines.map((line) => line.end());
  const statuses = new Map(more);
  for (const { status = 0 } of more === undefined ? ends : [])
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  const isLeft = (end: LineEnd) => end.endedMs === undefined && end.status === undefined;
  return {
    name: attack.name,
    opened: lines.length,
    statuses: [...statuses].sort(([a], [b]) => a - b),
    left: attack.boundMs === undefined ? 0 : ends.filter(isLeft).length,
    longestMs: Math.max(0, ...ends.map(({ endedMs }) => endedMs ?? 0)),
  };
}

/** Opens a number of connections, some at a time, and starts each. */
export async function openLines(
  { port }: Field,
  count: number,
  begin: (line: Line, n: number) => void,
  { reads = true, addresses = ['127.0.0.1'] }: { reads?: boolean; addresses?: readonly string[] } = {},
): Promise<Tally> {
  const lines: Line[] = [];
  for (let n = 0; n < count; n++) {
    const line = new Line(port, { reads, from: addresses[n % addresses.length] });
    lines.push(line);
    begin(line, n);
    if (n % 100 === 99) await delay(50);
  }
  return { lines };
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
