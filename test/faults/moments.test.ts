import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { connect } from '../../server/src/store/database/connection.ts';
import type { Cluster } from './cluster.ts';
import { Moments } from './moments.ts';
import type { Moment } from './plan-round.ts';

test('for a frame after another moment, only frames that pass after that moment count', async () => {
  const linesDir = await mkdtemp(join(tmpdir(), 'opsconductor-moments-'));
  // It only connects when something is queried.
  const sql = connect('postgres://nobody@127.0.0.1:1/nothing');
  const watched: Pick<Cluster, 'sql' | 'linesDir' | 'onFrame'> = { sql, linesDir, onFrame: () => undefined };
  const moments = new Moments(watched, 60_000, () => []);
  onTestFinished(async () => {
    moments.end();
    await sql.end();
    await rm(linesDir, { recursive: true });
  });
  moments.begin();
  const frame = (type: string, nth: number) =>
    ({ at: 'frame', type, direction: 'up', nth, when: 'after' }) as const satisfies Moment;
  const taken: string[] = [];
  const note = async (name: string) => {
    taken.push(name);
  };
  const resumed = moments.when(frame('resume', 1), () => note('resume'));
  const second = moments.when(frame('complete', 2), () => note('second'));
  const behind = moments.when({ ...frame('complete', 2), behind: frame('resume', 1) }, () => note('behind'));
  const pass = (type: string) => watched.onFrame('up', type, 'after');
  pass('complete');
  pass('complete');
  await second;
  pass('resume');
  await resumed;
  pass('complete');
  await turn();
  expect(taken).toEqual(['second', 'resume']);
  pass('complete');
  await behind;
  expect(taken).toEqual(['second', 'resume', 'behind']);
});
