import { expect, test, vi } from 'vitest';
import { createScan } from '../../host-keys/create-scan.ts';
import { createJob } from '../../jobs/create-job.ts';
import { startRun } from '../../runs/start/start-run.ts';
import { blockedBackends, holdTransaction } from '../../runs/testing.ts';
import type { Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { lockApprovable } from '../../store/host-keys/host-scan-review.ts';
import { lockTargetsOfSegment } from '../../store/host-keys/known-hosts-targets.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { lockConcerned, lockTargetsAgainstRuns } from '../../store/targets/inventory-targets.ts';
import { selectToChange } from '../../store/targets/target-bulk.ts';
import { readSelection } from '../../targets/selection/read-selection.ts';
import { setupGateway, type TestGateway } from '../testing.ts';
import { completion } from './leased-testing.ts';

/** Nothing is looked for unless it is announced. */
const noPoll = { claimPollMs: 3_600_000 };

async function jobOf(t: TestGateway): Promise<{ jobId: number; selection: { targetIds: number[] } }> {
  const step = { name: 'step', type: 'ssh.exec', config: { command: 'true' } };
  const { id } = await createJob(t, { name: 'job', steps: [step] }, t.caller);
  return { jobId: id, selection: { targetIds: [await t.addTarget()] } };
}

const start = (t: TestGateway, request: Parameters<typeof startRun>[1]) =>
  startRun({ ...t, claims: t.gateway }, request, t.caller);

test('a new run is leased by the commit that makes it ready', async () => {
  await using t = await setupGateway({}, undefined, noPoll);
  await t.connectAgent();
  const request = await jobOf(t);
  // The claim that comes with an agent may still be in flight, and then none goes along.
  const { runId, read } = await vi.waitFor(async () => {
    const started = await start(t, request);
    // Nothing is left to be published, and the run can be shown without another query.
    expect(started.news).toEqual({ runs: [], segments: [], cancel: [] });
    return started;
  }, 10_000);
  expect(await t.steps(runId)).toMatchObject([{ status: 'running', epoch: 1 }]);
  expect(await read).toMatchObject({ id: runId, targetsTotal: 1 });
  const [row] = await t.sql`
    select st.xmin::text = a.xmin::text as by_one_transaction from job_run_steps st, audit_log a
    where st.job_run_id = ${runId} and a.action = 'run.started' and a.object_id = ${String(runId)}`;
  expect(row).toEqual({ byOneTransaction: true });
});

test('without an agent of its segment here, a new run is claimed separately', async () => {
  await using t = await setupGateway({}, undefined, noPoll);
  const { runId, news } = await start(t, await jobOf(t));
  expect(news).toMatchObject({ runs: [{ id: runId }], segments: [t.segmentId] });
  const agent = await t.connectAgent();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId }]);
});

test('a run that can’t be written leases nothing, and later runs are leased', async () => {
  await using t = await setupGateway({}, undefined, noPoll);
  const agent = await t.connectAgent();
  const request = await jobOf(t);
  await t.sql`alter table audit_log rename to away`;
  await expect(start(t, request)).rejects.toThrow('audit_log');
  await t.sql`alter table away rename to audit_log`;
  const { runId } = await start(t, request);
  expect((await agent.next('leases')).leases).toMatchObject([{ runId, epoch: 1 }]);
});

test('two claims are never in flight: a run that comes meanwhile is claimed afterwards', async () => {
  let goOn = () => {};
  const held = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  let builds = 0;
  const wrap: Parameters<typeof setupGateway>[1] = (builder) => ({
    async build(steps) {
      builds += 1;
      if (builds === 1) await held;
      return builder.build(steps);
    },
  });
  await using t = await setupGateway({}, wrap, noPoll);
  const agent = await t.connectAgent();
  const request = await jobOf(t);
  const first = await start(t, request);
  await expect.poll(() => builds).toBe(1);
  const second = await start(t, request);
  expect(second.news.segments).toEqual([t.segmentId]);
  expect((await t.steps(second.runId))[0]?.status).toBe('ready');
  t.gateway.publish(second.news);
  goOn();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId: first.runId }]);
  expect((await agent.next('leases')).leases).toMatchObject([{ runId: second.runId }]);
});

test.each<[string, (t: TestGateway, tx: Tx, targetId: number) => Promise<unknown>]>([
  [
    'a bulk change',
    async (_, tx, targetId) => {
      const { query } = await readSelection(tx, { targetIds: [targetId] }, unrestricted);
      return selectToChange(tx, query, unrestricted, { limit: 10, againstRuns: false });
    },
  ],
  [
    'an import',
    (t, tx) => lockConcerned(tx, { inventoryId: 0, segmentIds: [t.segmentId], names: ['host-1'] }),
  ],
  ['an import of known_hosts', (t, tx) => lockTargetsOfSegment(tx, t.segmentId)],
  [
    'an approval of what a scan found',
    async (t, tx, targetId) => {
      const scan = { kind: 'keys' as const, selection: { targetIds: [targetId] } };
      const { id } = await createScan(t.sql, scan, t.caller);
      return lockApprovable(tx, id, { targetIds: [targetId] }, unrestricted);
    },
  ],
])('while %s holds its target a run is started and leased, and keeps no claim waiting', async (_, lock) => {
  await using t = await setupGateway({}, undefined, noPoll);
  const agent = await t.connectAgent();
  const request = await jobOf(t);
  const letGo = await holdTransaction(t.sql, (tx) => lock(t, tx, request.selection.targetIds[0] ?? 0));
  try {
    const starting = start(t, request);
    starting.catch(() => undefined);
    expect((await agent.next('leases')).leases).toMatchObject([{ epoch: 1 }]);
    await starting;
  } finally {
    await letGo();
  }
});

test.each<[string, (t: TestGateway, tx: Tx, targetId: number) => Promise<unknown>]>([
  [
    'a bulk change',
    async (_, tx, targetId) => {
      const { query } = await readSelection(tx, { targetIds: [targetId] }, unrestricted);
      return selectToChange(tx, query, unrestricted, { limit: 10, againstRuns: true });
    },
  ],
  ['an import', (_, tx, targetId) => lockTargetsAgainstRuns(tx, [targetId])],
])('while %s may delete its target no run is started', async (_, lock) => {
  await using t = await setupGateway({}, undefined, noPoll);
  const request = await jobOf(t);
  const letGo = await holdTransaction(t.sql, (tx) => lock(t, tx, request.selection.targetIds[0] ?? 0));
  const starting = start(t, request);
  try {
    await blockedBackends(t.sql, 1);
  } finally {
    await letGo();
  }
  // It may just be claimed for the agent that is no longer connected.
  expect(await t.steps((await starting).runId)).toHaveLength(1);
});

test('while a start waits for a lock on its target, other runs are leased', async () => {
  await using t = await setupGateway({}, undefined, noPoll);
  const agent = await t.connectAgent();
  const waiting = await jobOf(t);
  const other = { ...waiting, selection: { targetIds: [await t.addTarget()] } };
  const [targetId = 0] = waiting.selection.targetIds;
  const letGo = await holdTransaction(t.sql, (tx) => lockTargetsAgainstRuns(tx, [targetId]));
  let starting: ReturnType<typeof start> | undefined;
  try {
    const along = await vi.waitUntil(
      () => t.gateway.claimAlong({ runs: [], segments: [t.segmentId], cancel: [] }),
      10_000,
    );
    starting = startRun({ ...t, claims: { claimAlong: () => along } }, waiting, t.caller);
    starting.catch(() => undefined);
    await blockedBackends(t.sql, 1);
    const { runId, news } = await start(t, other);
    t.gateway.publish(news);
    expect((await agent.next('leases')).leases).toMatchObject([{ runId }]);
    await blockedBackends(t.sql, 1);
  } finally {
    await letGo();
  }
  const { runId, news } = await starting;
  t.gateway.publish(news);
  expect((await agent.next('leases')).leases).toMatchObject([{ runId }]);
});

test('steps leased by a commit whose answer was lost go back, and are leased again', async () => {
  await using t = await setupGateway({}, undefined, noPoll);
  const agent = await t.connectAgent();
  let along: ReturnType<typeof t.gateway.claimAlong>;
  const news = { runs: [], segments: [t.segmentId], cancel: [] };
  // The claim that the agent's resume asked for may still be in flight.
  await vi.waitUntil(() => {
    along = t.gateway.claimAlong(news);
    return along;
  }, 10_000);
  const runId = await t.start();
  await inTransaction(t.sql, async (tx) =>
    along?.claim(tx, { jobRunId: runId, claimRank: 0, segmentIds: [t.segmentId], hasLocks: false }),
  );
  expect((await t.steps(runId))[0]).toMatchObject({ status: 'running', epoch: 1 });
  along?.over(false);
  expect((await agent.next('leases')).leases).toMatchObject([{ runId, epoch: 2 }]);
});

test.each([
  ['that can prepare is told of a step before its lease is on disk', ['prepare']],
  ['that can not prepare is told of a step only by its lease', ['clean_up']],
])('an agent %s', async (_, capabilities) => {
  await using t = await setupGateway({}, undefined, noPoll);
  const agent = await t.connectAgent({ capabilities });
  const news = { runs: [], segments: [t.segmentId], cancel: [] };
  let along: ReturnType<typeof t.gateway.claimAlong>;
  await vi.waitUntil(() => {
    along = t.gateway.claimAlong(news);
    return along;
  }, 10_000);
  const runId = await t.start();
  const [step] = await t.steps(runId);
  const claiming = inTransaction(t.sql, async (tx) => {
    await along?.claim(tx, { jobRunId: runId, claimRank: 0, segmentIds: [t.segmentId], hasLocks: false });
    if (capabilities.includes('prepare'))
      expect((await agent.next('prepare')).steps).toMatchObject([{ step: step?.id, epoch: 1 }]);
    throw new Error('rolled back');
  });
  await expect(claiming).rejects.toThrow('rolled back');
  along?.over(false);
  // The hint leased nothing: the step is leased in the usual way.
  expect((await agent.next('leases')).leases).toMatchObject([{ runId, epoch: 1 }]);
  expect(agent.untaken).not.toContain('prepare');
});

test('an agent that can prepare is told of the next step before the answer that leases it', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent({ capabilities: ['prepare'] });
  const runId = await t.start({ steps: 2 });
  const [lease] = (await agent.next('leases')).leases;
  if (lease === undefined) throw new Error('no lease');
  agent.send(completion(lease, []));
  const { next } = await agent.next('completed');
  const [, second] = await t.steps(runId);
  expect(next?.step).toBe(second?.id);
  expect(agent.untaken).toContain('prepare');
  expect((await agent.next('prepare')).steps).toEqual([
    { step: second?.id, epoch: 1, target: next?.target.id },
  ]);
});

test('a step that can’t be leased leaves its slot to the next one', async () => {
  let last = 0;
  const wrap: Parameters<typeof setupGateway>[1] = (builder) => ({
    async build(steps) {
      const { leases } = await builder.build(steps);
      const others = steps.filter(({ id }) => id !== last);
      for (const { id } of others) leases.delete(id);
      return {
        leases,
        unbuildable: others.map((step) => ({ step, message: 'no such thing' })),
        elsewhere: [],
      };
    },
  });
  await using t = await setupGateway({}, wrap, noPoll);
  const runId = await t.start({ targets: 12 });
  last = (await t.steps(runId)).at(-1)?.id ?? 0;
  const agent = await t.connectAgent({ slots: 1 });
  expect((await agent.next('leases')).leases).toMatchObject([{ step: last }]);
});
