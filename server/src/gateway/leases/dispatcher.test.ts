import { expect, test, vi } from 'vitest';
import { createLog } from '../../log.ts';
import { LeaseBuilder } from '../../runs/leases/lease-builder.ts';
import { setupRuns, testServerId } from '../../runs/testing.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import type { AgentLink } from '../link/agent-link.ts';
import { Dispatcher } from './dispatcher.ts';
import type { Settler } from './settler.ts';

test('if undelivered steps can’t be taken back at once, delivered ones stay with their agents, and others are leased', async () => {
  await using t = await setupRuns();
  const there = await t.connect(t.agent, { slots: 1 });
  const gone = await t.addAgent('gone');
  await t.connect(gone, { slots: 1 });
  const given: number[] = [];
  const noted: number[] = [];
  const logged: string[] = [];
  const link = {
    sessionNumber: there.sessionNumber,
    can: () => true,
    canTell: () => true,
    prepare: () => {},
    lease: (leases: readonly { claimed: { id: number } }[]) =>
      given.push(...leases.map(({ claimed }) => claimed.id)),
  };
  const dispatcher = new Dispatcher({
    sql: t.sql,
    serverId: testServerId,
    builder: new LeaseBuilder(t),
    settler: {} as Settler,
    notes: { leased: (steps) => noted.push(...steps.map(({ id }) => id)) },
    log: createLog({ level: 'error', plain: false, destination: { write: (line) => logged.push(line) } }),
    linkOf: (agentId) => (agentId === there.agentId ? (link as unknown as AgentLink) : undefined),
    links: () => [],
    onNews: () => {},
  });
  const runId = await t.start({ targets: 2 });
  await t.sql`create function refuse() returns trigger language plpgsql as $$
    begin raise exception 'the database does not take it now'; end $$`;
  await t.sql`create trigger refuse before update on job_run_steps for each row
    when (old.status = 'running' and new.status = 'ready') execute function refuse()`;
  const along = dispatcher.claimAlong();
  await inTransaction(t.sql, async (tx) =>
    along?.claim(tx, { jobRunId: runId, claimRank: 0, segmentIds: [t.segmentId], hasLocks: false }),
  );
  along?.over(true);
  await vi.waitFor(() => expect(given).toHaveLength(1), { timeout: 10_000 });
  // It stays leased, and readers are told of that whatever becomes of the other.
  expect(noted).toEqual(given);
  await vi.waitFor(() => expect(logged.join('')).toContain('could not be taken back'), {
    timeout: 10_000,
  });
  expect(dispatcher.claimAlong()).toBeUndefined();
  await t.sql`update agent_sessions set slots = 2 where agent_id = ${there.agentId}`;
  await t.start();
  dispatcher.wake();
  await vi.waitFor(() => expect(given).toHaveLength(2), { timeout: 10_000 });
  await t.sql`drop trigger refuse on job_run_steps`;
  const statusesById = async () =>
    new Map((await t.steps(runId)).map(({ id, status, epoch }) => [id, `${status} ${epoch}`]));
  const statuses = async () => {
    dispatcher.wake();
    return [...(await statusesById()).values()].sort();
  };
  await expect.poll(statuses, { timeout: 10_000 }).toEqual(['ready 1', 'running 1']);
  expect((await statusesById()).get(given[0] ?? 0)).toBe('running 1');
  await dispatcher.stop();
});
