import type { JournalAttempt } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { givenUp } from '../../runs/testing.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import { setupGateway } from '../testing.ts';

const otherServerId = '0b7e1c52-0000-4000-8000-000000000002';

/** Makes an attempt that was given up: its processes may still run. */
async function setup() {
  const t = await setupGateway({}, undefined, { cleanUpRoundMs: 100 });
  // Leased by another server, so that this one has no part in it.
  await t.connect(t.agent, { serverId: otherServerId });
  await t.start({ targets: 2 });
  const [lost, other] = await t.claim(otherServerId);
  if (lost === undefined || other === undefined) throw new Error('not leased');
  await t.settle(givenUp(lost), givenUp(other));
  return Object.assign(t, { lost, other, attempts: [lost, other].map(begun) });
}

/** The attempt as in the agent's journal. Without that, it never began and there is nothing to clean up. */
function begun({ id, epoch, leaseToken }: ClaimedStep): JournalAttempt {
  return { step: id, epoch, leaseToken, state: 'running', lastSeq: 0 };
}

const capabilities = ['clean_up'];

test('an agent that supports it is asked to clean up as soon as it connects, and its findings are kept', async () => {
  await using t = await setup();
  await t.sql`update attempt_clean_ups set due_at = clock_timestamp() where job_run_step_id = ${t.lost.id}`;
  const agent = await t.connectAgent({ capabilities, attempts: t.attempts });
  const request = await agent.next('clean_up');
  expect(request.attempts).toMatchObject([{ step: t.lost.id, epoch: 1, target: { name: 'host-1' } }]);
  const survivors = [{ pid: 77, command: 'dd if=/dev/zero' }];
  const results = [{ step: t.lost.id, epoch: 1, found: 'survivors' as const, survivors }];
  agent.send({ type: 'cleaned_up', requestId: request.requestId, results });
  const kept = () => t.sql`select found, survivors, done_at is not null as done from attempt_clean_ups
    where job_run_step_id = ${t.lost.id}`;
  await expect.poll(kept).toMatchObject([{ found: 'survivors', done: true, survivors: [{ pid: 77 }] }]);
});

test('clean-ups that become due are given to connected agents in the next round', async () => {
  await using t = await setup();
  const agent = await t.connectAgent({ capabilities, attempts: t.attempts });
  await t.sql`update attempt_clean_ups set due_at = clock_timestamp()`;
  const { attempts } = await agent.next('clean_up');
  expect(attempts.map(({ step }) => step).sort()).toEqual([t.lost.id, t.other.id]);
});

test('an agent of the previous version is not asked, and what is due waits for one that can do it', async () => {
  await using t = await setup();
  await t.sql`update attempt_clean_ups set due_at = clock_timestamp()`;
  const old = await t.connectAgent({ attempts: t.attempts });
  old.send({ type: 'heartbeat', sequence: 1, held: [] });
  await old.next('heartbeat_ack');
  expect(await t.sql`select 1 from attempt_clean_ups where asked_at is not null`).toEqual([]);
  const able = await t.connectAgent({ capabilities, attempts: t.attempts });
  expect((await able.next('clean_up')).attempts).toHaveLength(2);
});

test('clean-ups that an agent was asked for in a lost session are asked for again at once', async () => {
  await using t = await setup();
  await t.sql`update attempt_clean_ups set due_at = clock_timestamp()`;
  const first = await t.connectAgent({ capabilities, attempts: t.attempts });
  await first.next('clean_up');
  first.terminate();
  const second = await t.connectAgent({ capabilities, attempts: t.attempts });
  expect((await second.next('clean_up')).attempts).toHaveLength(2);
});
