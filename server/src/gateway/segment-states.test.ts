import { pino } from 'pino';
import { expect, test } from 'vitest';
import type { SegmentState } from '../segments/segment-state.ts';
import { SegmentStates } from './segment-states.ts';

interface Read {
  agentId: number;
  answer(payload: string | undefined): void;
  fail(): void;
}

/** Reads are answered by the test; each hearer keeps the payloads that it was sent. */
function setup() {
  const reads: Read[] = [];
  const waiting: (() => void)[] = [];
  const read = (agentId: number) =>
    new Promise<SegmentState | undefined>((resolve, reject) => {
      reads.push({
        agentId,
        answer: (payload) => resolve(payload === undefined ? undefined : stateOf(payload)),
        fail: () => reject(new Error('the database is away')),
      });
      for (const wake of waiting.splice(0)) wake();
    });
  return {
    states: new SegmentStates({ read, log: pino({ level: 'silent' }) }),
    reads,
    /** Resolves with read number n, once it was asked for. */
    async read(n: number): Promise<Read> {
      while (reads[n] === undefined) await new Promise<void>((resolve) => waiting.push(resolve));
      return reads[n];
    },
    hearer(agentId: number) {
      const sent: string[] = [];
      const send = (message: object) => sent.push((message as SegmentState).roster.payload);
      return { agentId, name: `agent ${agentId}`, isEnding: false, send, sent };
    },
  };
}

function stateOf(payload: string): SegmentState {
  return { type: 'segment_state', roster: { payload, signature: 'signed' }, wraps: [], wanting: [] };
}

test('an older state never follows a newer one, however slow its reading is', async () => {
  const t = setup();
  const hearer = t.hearer(1);
  const first = t.states.tell(hearer);
  const slow = await t.read(0);
  const second = t.states.tell(hearer);
  slow.answer('older');
  (await t.read(1)).answer('newer');
  await Promise.all([first, second]);
  expect(hearer.sent).toEqual(['older', 'newer']);
});

test('however many changes there are while one is read, the next read covers them all', async () => {
  const t = setup();
  const hearer = t.hearer(1);
  const first = t.states.tell(hearer);
  const read = await t.read(0);
  const told = Array.from({ length: 50 }, () => t.states.tell(hearer));
  read.answer('before');
  (await t.read(1)).answer('after all');
  await Promise.all([first, ...told]);
  expect(hearer.sent).toEqual(['before', 'after all']);
  expect(t.reads).toHaveLength(2);
});

test('agents do not wait for each other, but only a few are read for at a time', async () => {
  const t = setup();
  const hearers = [1, 2, 3, 4, 5].map((id) => t.hearer(id));
  const told = hearers.map((hearer) => t.states.tell(hearer));
  await t.read(3);
  expect(t.reads.map(({ agentId }) => agentId)).toEqual([1, 2, 3, 4]);
  t.reads[2]?.answer('for 3');
  await told[2];
  expect(hearers[2]?.sent).toEqual(['for 3']);
  (await t.read(4)).answer('for 5');
  await told[4];
  for (const read of t.reads) read.answer(undefined);
  await Promise.all(told);
});

test('an agent that is leaving is told nothing, and a read that fails keeps nobody from the next', async () => {
  const t = setup();
  const leaving = { ...t.hearer(9), isEnding: true };
  await t.states.tell(leaving);
  expect(leaving.sent).toEqual([]);
  const hearer = t.hearer(1);
  const first = t.states.tell(hearer);
  (await t.read(0)).fail();
  await first;
  const second = t.states.tell(hearer);
  (await t.read(1)).answer('again');
  await second;
  expect(hearer.sent).toEqual(['again']);
});
