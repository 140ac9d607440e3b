import type { HeldSteps } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { expireHolds } from '../../../runs/ends/decide-held.ts';
import { endOf, givenUp, success } from '../../../runs/testing.ts';
import { setupRunsApp, type TestRunsApp } from './runs-testing.ts';

const holding = [{ on_unknown: 'hold' }, {}] as const;

/** Starts a run on this many hosts, all of them held at their first step. */
async function held(t: TestRunsApp, targets: number): Promise<{ runId: number; stepIds: number[] }> {
  const runId = await t.start({ rules: holding, targets });
  const leases = await t.claim();
  await t.settle(...leases.map(givenUp));
  return { runId, stepIds: leases.map((lease) => lease.id) };
}

async function statuses(t: TestRunsApp, runId: number): Promise<string> {
  return (await t.steps(runId)).map((step) => step.status).join(' ');
}

test('held steps of one agent and step are one decision, with the consequence of each choice', async () => {
  await using t = await setupRunsApp();
  const { runId, stepIds } = await held(t, 3);
  const { body } = (await t.ask('GET', `runs/${runId}/decisions`)) as { body: HeldSteps };
  expect(body).toMatchObject({
    mayDecide: true,
    groups: [{ stepNumber: 1, agentName: t.agent.name, reason: 'agent_silent', count: 3 }],
  });
  expect(body.groups[0]?.steps.map(({ id }) => id)).toEqual(stepIds);
  expect(body.groups[0]?.consequences).toEqual({
    succeeded: 'Step 1 counts as succeeded on 3 hosts; one step still follows.',
    failed: 'Step 1 counts as failed on 3 hosts; the steps after it are skipped.',
    retry:
      'Step 1 is run again on 3 hosts. The earlier attempt may still be running there: it is told to end, but nobody waits for that. The step does not say that running it twice does no harm: check the target first.',
    cancel: 'Step 1 counts as cancelled on 3 hosts; the steps after it are skipped.',
  });
  const json = {
    decision: 'succeeded',
    note: 'looked at all three',
    agentName: t.agent.name,
    stepNumber: 1,
    expected: 3,
  };
  expect(await t.ask('POST', `runs/${runId}/decisions`, { json })).toEqual({
    status: 200,
    body: { decided: 3, stillHeld: 0 },
  });
  expect(await statuses(t, runId)).toBe(Array(3).fill('succeeded ready').join(' '));
  expect(await t.run(runId)).toMatchObject({ status: 'running' });
  const [row] = await t.sql`select detail from audit_log where action = 'run.decided'`;
  expect(row?.detail).toMatchObject({ decision: 'succeeded', note: 'looked at all three', decided: 3 });
});

test.each([
  ['failed', 'failed skipped', 'failed'],
  ['cancel', 'cancelled skipped', 'cancelled'],
  ['retry', 'ready pending', 'running'],
])('“%s” makes the steps %s and the run %s', async (decision, steps, run) => {
  await using t = await setupRunsApp();
  const { runId, stepIds } = await held(t, 1);
  const json = { decision, note: 'looked', steps: [{ id: stepIds[0], attempt: 1 }] };
  expect(await t.ask('POST', `runs/${runId}/decisions`, { json })).toMatchObject({ status: 200 });
  expect(await statuses(t, runId)).toBe(steps);
  expect(await t.run(runId)).toMatchObject({ status: run });
});

test('a late decision, or one about other steps than were shown, is refused as a whole with the current state', async () => {
  await using t = await setupRunsApp();
  const { runId, stepIds } = await held(t, 3);
  const [first, second] = stepIds;
  const decide = (more: object) =>
    t.ask('POST', `runs/${runId}/decisions`, { json: { decision: 'retry', note: 'looked', ...more } });
  expect(await decide({ expected: 2 })).toMatchObject({
    status: 409,
    body: { error: { message: '3 held steps fit by now, not 2: look again, then decide.' } },
  });
  await decide({ steps: [{ id: first, attempt: 1 }] });
  const stale = await decide({
    steps: [
      { id: first, attempt: 1 },
      { id: second, attempt: 2 },
    ],
  });
  expect(stale).toMatchObject({
    status: 409,
    body: {
      error: {
        details: [
          { path: 'steps[0]', message: 'Step 1 on “host-1” is ready now, with attempt 1.' },
          { path: 'steps[1]', message: 'Step 1 on “host-2” is held now, with attempt 1.' },
        ],
      },
    },
  });
  expect(await statuses(t, runId)).toBe('ready pending held pending held pending');
  expect(await decide({ reason: 'unreachable' })).toMatchObject({ status: 409 });
});

test('a held step that nobody decides in time ends unknown, and not earlier', async () => {
  await using t = await setupRunsApp();
  const { runId, stepIds } = await held(t, 1);
  await expireHolds(t.sql, stepIds);
  expect(await statuses(t, runId)).toBe('held pending');
  await t.sql`update job_run_steps set held_until = clock_timestamp() - interval '1 second' where status = 'held'`;
  await expireHolds(t.sql, stepIds);
  const [step] = await t.steps(runId);
  expect(step).toMatchObject({ status: 'unknown', reason: 'agent_silent' });
  expect(step?.errorMessage).toBe('The agent was silent. Nobody decided in time.');
  expect(await t.run(runId)).toMatchObject({ status: 'unknown', completedSteps: 2 });
});

test('each attempt is listed with the decision about it and what its agent reported later', async () => {
  await using t = await setupRunsApp();
  const runId = await t.start({ rules: holding });
  const lease = await t.claimOne();
  await t.settle(givenUp(lease));
  await t.ask('POST', `runs/${runId}/decisions`, { json: { decision: 'retry', note: 'the disk was full' } });
  await t.settle(endOf(lease, success));
  await t.claimOne();
  const { body } = await t.ask('GET', `runs/${runId}/steps/${lease.id}/attempts`);
  expect(body).toMatchObject({
    items: [
      {
        attempt: 1,
        status: 'unknown',
        reason: 'agent_silent',
        late: { status: 'succeeded' },
        decision: { decision: 'retry', note: 'the disk was full', by: 'root' },
        cleanUp: null,
      },
      { attempt: 2, status: 'running', decision: null, late: null },
    ],
  });
  expect(await t.ask('GET', `runs/${runId + 1}/steps/${lease.id}/attempts`)).toMatchObject({ status: 404 });
});

test('steps on targets that the caller does not see are neither named nor decided', async () => {
  await using t = await setupRunsApp();
  const { runId, stepIds } = await held(t, 3);
  const { token } = await userWhoSeesOnly(t, 'host-1');
  const decide = (more: object) =>
    t.ask('POST', `runs/${runId}/decisions`, {
      token,
      json: { decision: 'succeeded', note: 'looked', ...more },
    });
  const other = await decide({ steps: [{ id: stepIds[1], attempt: 7 }] });
  expect(other).toMatchObject({
    status: 409,
    body: { error: { message: `Run ${runId} has no step ${stepIds[1]}.` } },
  });
  expect(await decide({ stepNumber: 1, expected: 3 })).toMatchObject({ status: 409 });
  expect(await decide({ stepNumber: 1, expected: 1 })).toEqual({
    status: 200,
    body: { decided: 1, stillHeld: 0 },
  });
  expect(await statuses(t, runId)).toBe('succeeded ready held pending held pending');
});

/** Returns a user with only `run` on all jobs, and the right to read this target. */
async function userWhoSeesOnly(t: TestRunsApp, targetName: string): Promise<{ token: string }> {
  const user = await t.app.user('eve', []);
  const [group] = await t.sql<{ id: number }[]>`
    insert into target_groups (name) values ('seen') returning id`;
  await t.sql`
    insert into target_group_members (target_group_id, target_id)
    select ${group?.id ?? 0}, id from targets where name = ${targetName}`;
  await t.sql`
    insert into role_grants (user_id, role, permission, target_group_id, category_id)
    select ${user.id}, 'viewer', null, ${group?.id ?? 0}, null
    union all select distinct ${user.id}::bigint, null, 'run', null::bigint, category_id from jobs`;
  return user;
}

test('errors of a decision name the field', async () => {
  await using t = await setupRunsApp();
  const json = { decision: 'maybe', note: ' ' };
  const { status, body } = await t.ask('POST', 'runs/1/decisions', { json });
  expect(status).toBe(400);
  expect(JSON.stringify(body)).toMatch(/"decision".*"note"/s);
});
