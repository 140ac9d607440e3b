import { type AgentMessageOf, limits } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { CleanUpRequests } from '../../runs/ends/clean-up-requests.ts';
import { LeaseBuilder } from '../../runs/leases/lease-builder.ts';
import { givenUp, setupRuns } from '../../runs/testing.ts';
import type { AgentLink } from '../link/agent-link.ts';
import { CleanUpAsks } from './clean-up-asks.ts';

/** Makes an attempt that is due to be cleaned up after, and a round with three agents of its segment. */
async function setup() {
  const t = await setupRuns();
  const agents = [t.agent, await t.addAgent('second'), await t.addAgent('third')];
  await t.start();
  await t.settle(givenUp(await t.claimOne()));
  await t.sql`update attempt_clean_ups set due_at = clock_timestamp()`;
  const requests = new CleanUpRequests({ sql: t.sql, builder: new LeaseBuilder(t) });
  const sent: string[] = [];
  let looked: string[] = [];
  const links = agents.map(({ agentId, name }) => ({
    ...{ agentId, name, segmentId: t.segmentId, isReady: true },
    can: () => true,
    send: () => sent.push(name),
  }));
  const asks = new CleanUpAsks({
    sql: t.sql,
    requests: {
      requestFor: (agent) => {
        looked.push(links.find((link) => link.agentId === agent.agentId)?.name ?? '');
        return requests.requestFor(agent);
      },
      answered: (...said) => requests.answered(...said),
    },
    links: () => links as unknown as AgentLink[],
    roundMs: undefined,
    log: { warn: (error: unknown) => expect(error).toBeUndefined() } as never,
  });
  return Object.assign(t, {
    sent,
    answered: (agentId: number, results: AgentMessageOf<'cleaned_up'>['results']) =>
      requests.answered(agentId, { type: 'cleaned_up', requestId: '1', results }),
    /** Makes a round and returns the agents that it looked for. */
    round: async () => {
      looked = [];
      await asks.ask();
      return looked;
    },
  });
}

test('after one agent has taken what was due, one more look is made, not one for every agent of the segment', async () => {
  await using t = await setup();
  expect(await t.round()).toHaveLength(2);
  expect(t.sent).toHaveLength(1);
});

test.each([
  [
    'that nobody is asked for any more',
    `tries = 20, asked_at = due_at, told_at = due_at, found = 'unreachable'`,
  ],
  ['that waits for its next try', `tries = 3, asked_at = due_at, told_at = due_at, found = 'unreachable'`],
])('a round looks for nobody because of a clean-up %s', async (_, change) => {
  await using t = await setup();
  await t.sql.unsafe(`update attempt_clean_ups set agent_id = ${t.agent.agentId}, ${change}`);
  expect(await t.round()).toEqual([]);
});

test('a round looks only for agents that could have run the step', async () => {
  await using t = await setup();
  await t.sql`update job_run_steps set needs = '{become}'`;
  expect(await t.round()).toEqual([]);
  await t.sql`update agent_sessions set capabilities = '{become,clean_up}'
    where agent_id = (select id from agents where name = 'third')`;
  expect(await t.round()).toEqual(['third']);
  expect(t.sent).toEqual(['third']);
});

test('a clean-up whose row can’t be written keeps no others from being asked for, nor their answers from being noted', async () => {
  await using t = await setup();
  await t.start({ targets: 2 });
  await t.settle(...(await t.claim()).map(givenUp));
  await t.sql`update attempt_clean_ups set due_at = clock_timestamp() - interval '1 second' * job_run_step_id`;
  const [bad] = await t.sql<{ id: number }[]>`select max(job_run_step_id) as id from attempt_clean_ups`;
  await t.sql.unsafe(`
    create function refuse() returns trigger language plpgsql as $$
      begin raise exception 'this row can not be written'; end $$;
    create trigger refuse before update on attempt_clean_ups for each row when (old.job_run_step_id = ${bad?.id})
      execute function refuse()`);
  await t.round();
  expect(t.sent).toHaveLength(1);
  const asked = await t.sql<{ agentId: number; step: number; epoch: number }[]>`
    select agent_id, job_run_step_id as step, epoch from attempt_clean_ups where asked_at is not null`;
  expect(asked).toHaveLength(2);
  await t.sql`alter table attempt_clean_ups disable trigger refuse`;
  await t.sql`update attempt_clean_ups set agent_id = ${asked[0]?.agentId ?? 0}, asked_at = clock_timestamp()`;
  await t.sql`alter table attempt_clean_ups enable trigger refuse`;
  const rows = await t.sql<{ step: number; epoch: number }[]>`
    select job_run_step_id as step, epoch from attempt_clean_ups order by 1`;
  const results = rows.map(({ step, epoch }) => ({ step, epoch, found: 'nothing' as const }));
  await t.answered(asked[0]?.agentId ?? 0, results);
  expect(await t.sql`select job_run_step_id as id from attempt_clean_ups where done_at is null`).toEqual([
    { id: bad?.id },
  ]);
});

test('clean-ups that nobody can make any more don’t end the round for those that can be made', async () => {
  await using t = await setup();
  const runId = await t.start({ targets: limits.maxCleanUpsPerMessage });
  for (let leases = await t.claim(); leases.length > 0; leases = await t.claim())
    await t.settle(...leases.map(givenUp));
  expect(await t.sql`select from attempt_clean_ups`).toHaveLength(limits.maxCleanUpsPerMessage + 1);
  await t.sql`update attempt_clean_ups set due_at = clock_timestamp() - interval '1 hour'
    where job_run_step_id in (select id from job_run_steps where job_run_id = ${runId})`;
  await t.sql`delete from targets where id in (select target_id from job_run_targets where job_run_id = ${runId})`;
  await t.round();
  expect(t.sent).toHaveLength(1);
});
