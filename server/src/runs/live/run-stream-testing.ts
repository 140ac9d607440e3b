// Follows runs as readers of their streams do, and sets up what such tests need.
import type { ChunkEvent, RunChange } from '@opsconductor/protocol';
import { onTestFinished } from 'vitest';
import { chunkOf, setupOutput, type TestOutput, textOf } from '../output/output-testing.ts';
import { endOf } from '../testing.ts';
import { RunStream } from './run-stream.ts';
import { parsePosition } from './stream-position.ts';

/** Longer than any test may last: a reader that has to wait for it has missed a wake. */
export const idleMs = 600_000;

export interface Seen {
  id: string;
  type: string;
  data: unknown;
}

/** Follows a run with all its output, from a position on, until the test ends. */
export async function follow(t: TestOutput, runId: number, from = '0', onCutOff = () => {}, isNew = false) {
  const position = parsePosition(from);
  if (position === undefined) throw new Error(`no position: ${from}`);
  const stepIds = (await t.steps(runId)).map((step) => step.id);
  const ofNew = isNew ? { isNew, hasEnded: false } : {};
  const stream = new RunStream(t, { runId, stepIds, position, onCutOff, ...ofNew });
  onTestFinished(() => stream.close());
  const read = async (): Promise<Seen[] | undefined> => {
    const pieces = await stream.next(idleMs);
    const text = pieces === undefined ? undefined : Buffer.concat(pieces).toString();
    return text
      ?.split('\n\n')
      .filter(Boolean)
      .map(parse)
      .filter(({ type }) => type !== '');
  };
  return {
    stream,
    read,
    async readToEnd(): Promise<Seen[]> {
      const all: Seen[] = [];
      for (let part = await read(); part !== undefined; part = await read()) all.push(...part);
      return all;
    },
  };
}

function parse(frame: string): Seen {
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(frame)?.[1] ?? '';
  return { id: field('id'), type: field('event'), data: JSON.parse(field('data') || 'null') };
}

export function texts(seen: readonly Seen[]): string[] {
  return seen.flatMap((event) => (event.type === 'chunk' ? [textOf((event.data as ChunkEvent).data)] : []));
}

export function statuses(seen: readonly Seen[]): (string | undefined)[] {
  return seen.flatMap((event) => (event.type === 'change' ? [(event.data as RunChange).run?.status] : []));
}

/** Tells this server's readers, as the gateway does after each transaction. */
export async function settle(t: TestOutput, ...ends: Parameters<TestOutput['settle']>) {
  const { results, news } = await t.settle(...ends);
  t.hub.publishRuns(news.runs);
  return results;
}

/** Keeps stored output from being read until it is released. */
export async function lockOutput({ sql }: TestOutput) {
  const holder = await sql.reserve();
  await holder`begin`;
  await holder`lock table run_output in access exclusive mode`;
  return {
    /** Returns how many queries wait for it. */
    async waiting(): Promise<number> {
      const rows = await holder`
        select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
      return rows.length;
    },
    async release(): Promise<void> {
      await holder`commit`;
      holder.release();
    },
  };
}

/** Sets up a run that has ended, with none of its output in memory. */
export async function setupEnded() {
  const t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'one\n'));
  await settle(t, endOf(lease));
  return Object.assign(t, { runId });
}
