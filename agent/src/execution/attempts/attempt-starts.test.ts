// Whatever is checked before a start is written to disk is checked again afterwards: the write takes time.
import { expect, test } from 'vitest';
import type { JournalRecord } from '../../journal/journal-record.ts';
import type { BeforeStart } from '../../steps/step-type.ts';
import { lease, ManualClock } from '../../testing/agent-setup.ts';
import { msSince } from '../../timing/machine-time.ts';
import { LeaseDeadline } from '../lease-deadline.ts';
import type { Session } from '../session.ts';
import { Attempt } from './attempt.ts';
import { AttemptStarts } from './attempt-starts.ts';

function setup() {
  const clock = new ManualClock();
  const deadline = new LeaseDeadline(clock);
  deadline.begin(deadline.now(), 20_000);
  const told: unknown[] = [];
  const records: JournalRecord[] = [];
  const done: string[] = [];
  let isStopped = false;
  let onDisk = () => {};
  const written = new Promise<void>((resolve) => {
    onDisk = resolve;
  });
  const starts = new AttemptStarts({
    journal: {
      durable: async (record: JournalRecord) => {
        done.push(record.is);
        records.push(record);
        await written;
      },
    },
    grants: {
      begin: () => {
        done.push('granted');
        return () => done.push('taken back');
      },
    },
    deadline,
    isStopped: () => isStopped,
    session: () => ({ send: (message: unknown) => told.push(message) }) as unknown as Session,
  });
  const output = { begin: () => done.push('begun') } as unknown as Attempt['output'];
  const given = lease(1);
  const attempt = new Attempt({ ...given, output, lease: given });
  return {
    attempt,
    clock,
    told,
    done,
    records,
    onDisk,
    stop: () => {
      isStopped = true;
    },
    begin: (how?: BeforeStart) => starts.begin(attempt, { lease: given, checked: given }, how),
  };
}

test('a start is reported once it is on disk, with the use of its grant recorded before it', async () => {
  const t = setup();
  const begins = t.begin();
  expect(t.told).toEqual([]);
  t.onDisk();
  await begins;
  expect(t.done).toEqual(['granted', 'starting', 'begun']);
  expect(t.told).toMatchObject([{ type: 'started', step: 1, epoch: 1 }]);
});

test('the start of a command that survives its agent is also recorded by a clock that nobody sets', async () => {
  const t = setup();
  t.onDisk();
  await t.begin({ survivesWith: {} });
  const [record] = t.records;
  if (record?.is !== 'starting') throw new Error('no start was recorded');
  expect(msSince('2026-01-01T00:00:00.000Z', record.machineTime)).toBeLessThan(60_000);
});

test.each<[string, (t: ReturnType<typeof setup>) => void, string]>([
  ['the lease has ended', ({ clock }) => Object.assign(clock, { monotonic: 21_000 }), 'lease_expired'],
  ['it was cancelled', ({ attempt }) => attempt.stop({ cause: 'cancelled', killGraceMs: 0 }), 'stopped'],
  ['it was handed back', ({ attempt }) => Object.assign(attempt, { forgotten: true }), 'revoked'],
  ['it was leased to another', ({ attempt }) => Object.assign(attempt, { revoked: true }), 'revoked'],
  ['the agent was stopped', ({ stop }) => stop(), 'revoked'],
])('a step does not begin if %s while its start was being written', async (_, meanwhile, why) => {
  const t = setup();
  const begins = t.begin();
  meanwhile(t);
  t.onDisk();
  await expect(begins).rejects.toMatchObject({ name: 'MayNotBegin', why });
  expect(t.done).toEqual(['granted', 'starting', 'taken back']);
  expect([t.told, t.attempt.state]).toEqual([[], 'leased']);
});
