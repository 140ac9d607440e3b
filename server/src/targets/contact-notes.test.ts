import type { StepOutcome } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { holdTransaction, setupRuns, success, type TestRuns } from '../runs/testing.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { forgetContacts, writeContact } from '../store/targets/target-contacts.ts';
import { ContactNotes } from './contact-notes.ts';
import { getTarget } from './list-targets.ts';

const ssh = { sessionId: 's', establishedAt: new Date(0).toISOString(), reused: false };
const reached: StepOutcome = { ...success, ssh };
const refused: StepOutcome = { status: 'failed', reason: 'auth_failed', message: 'No.' };

function notesOf(t: TestRuns) {
  const logged: unknown[] = [];
  const notes = new ContactNotes({
    sql: t.sql,
    log: { warn: (...line: unknown[]) => logged.push(line) } as never,
  });
  return { notes, logged };
}

async function stepsOf(t: TestRuns, targets: number, stepType = 'ssh.exec') {
  const runId = await t.start({ targets });
  await t.sql`update job_run_steps set step_type = ${stepType} where job_run_id = ${runId}`;
  return t.sql<{ stepId: number; targetId: number }[]>`
    select st.id as step_id, tr.target_id from job_run_steps st join job_run_targets tr on tr.id = st.target_run_id
    where st.job_run_id = ${runId} order by st.id`;
}

const healthOf = async (t: TestRuns, targetId: number | undefined) => {
  const { health, lastContact } = await getTarget(t.sql, targetId ?? 0, unrestricted);
  return [health, lastContact?.reason ?? null];
};

test('the end of an attempt says whether its target was reached', async () => {
  await using t = await setupRuns();
  const { notes } = notesOf(t);
  const steps = await stepsOf(t, 4);
  const outcomes: StepOutcome[] = [
    reached,
    { status: 'failed', exitCode: 3, reason: 'exit_code', ssh },
    refused,
    { status: 'cancelled', reason: 'cancelled' },
  ];
  for (const [n, outcome] of outcomes.entries()) notes.note(steps[n]?.stepId ?? 0, outcome);
  await notes.flush();
  expect(await Promise.all(steps.map((step) => healthOf(t, step.targetId)))).toEqual([
    ['ok', null],
    ['ok', null],
    ['failing', 'auth_failed'],
    ['never', null],
  ]);
});

test('an attempt that began before its target was changed says nothing about it', async () => {
  await using t = await setupRuns();
  const { notes } = notesOf(t);
  const [step] = await stepsOf(t, 1);
  const { stepId, targetId } = step ?? { stepId: 0, targetId: 0 };
  await writeContact(t.sql, targetId, { ok: true, reason: null });
  await t.sql`update job_run_steps set leased_at = clock_timestamp() where id = ${stepId}`;
  await t.sql.begin((tx) => forgetContacts(tx, [targetId]));
  notes.note(stepId, refused);
  await notes.flush();
  expect(await healthOf(t, targetId)).toEqual(['never', null]);
  await t.sql`update job_run_steps set leased_at = clock_timestamp() where id = ${stepId}`;
  notes.note(stepId, refused);
  await notes.flush();
  expect(await healthOf(t, targetId)).toEqual(['failing', 'auth_failed']);
});

test('an attempt over WinRM counts as contact if the host answered; one of a type that may not have connected does not', async () => {
  await using t = await setupRuns();
  const { notes } = notesOf(t);
  const outcomes: StepOutcome[] = [
    { status: 'succeeded', exitCode: 0, executionTimeMs: 5 },
    // For a task that another process of the agent began, no execution time is reported.
    { status: 'failed', exitCode: 3, reason: 'exit_code' },
    { status: 'failed', reason: 'path_missing', executionTimeMs: 5 },
    { status: 'timed_out', reason: 'timed_out', executionTimeMs: 5 },
    { status: 'failed', reason: 'auth_failed', executionTimeMs: 5 },
    { status: 'timed_out', reason: 'timed_out' },
  ];
  const healthsAfter = async (stepType: string) => {
    const steps = await stepsOf(t, outcomes.length, stepType);
    for (const [n, outcome] of outcomes.entries()) notes.note(steps[n]?.stepId ?? 0, outcome);
    await notes.flush();
    return Promise.all(steps.map(async (step) => (await healthOf(t, step.targetId))[0]));
  };
  expect(await healthsAfter('winrm.exec')).toEqual(['ok', 'ok', 'ok', 'ok', 'failing', 'never']);
  // The step may have waited for a port, or for a connection that was never made.
  expect(await healthsAfter('wait_for')).toEqual(['never', 'never', 'never', 'never', 'failing', 'never']);
});

test('a Windows target that was away is healthy again after the next step that reaches it', async () => {
  await using t = await setupRuns();
  const { notes } = notesOf(t);
  const [step] = await stepsOf(t, 1, 'winrm.exec');
  const { stepId = 0, targetId } = step ?? {};
  notes.note(stepId, { status: 'failed', reason: 'connection_refused' });
  await notes.flush();
  expect(await healthOf(t, targetId)).toEqual(['failing', 'connection_refused']);
  notes.note(stepId, { status: 'succeeded', exitCode: 0, executionTimeMs: 5 });
  // An end that says nothing about the contact does not remove what an earlier one said.
  notes.note(stepId, { status: 'cancelled', reason: 'cancelled' });
  await notes.flush();
  expect(await healthOf(t, targetId)).toEqual(['ok', null]);
});

test.each(['certificate_refused', 'not_authorized', 'jump_host_failed'] as const)(
  'a target that ended an attempt with %s was not reached',
  async (reason) => {
    await using t = await setupRuns();
    const { notes } = notesOf(t);
    const [step] = await stepsOf(t, 1);
    notes.note(step?.stepId ?? 0, { status: 'failed', reason, message: 'No.' });
    await notes.flush();
    expect(await healthOf(t, step?.targetId)).toEqual(['failing', reason]);
  },
);

test('an attempt that its agent’s owner does not allow says nothing about the target', async () => {
  await using t = await setupRuns();
  const { notes } = notesOf(t);
  const [step] = await stepsOf(t, 1, 'winrm.exec');
  notes.note(step?.stepId ?? 0, { status: 'failed', reason: 'policy_refused', message: 'No.' });
  await notes.flush();
  expect(await healthOf(t, step?.targetId)).toEqual(['never', null]);
});

test('the last of several attempts on a target counts; an equal result is not written again for a while', async () => {
  await using t = await setupRuns();
  const { notes } = notesOf(t);
  const [step] = await stepsOf(t, 1);
  const { stepId = 0, targetId } = step ?? {};
  notes.note(stepId, reached);
  notes.note(stepId, refused);
  await notes.flush();
  expect(await healthOf(t, targetId)).toEqual(['failing', 'auth_failed']);
  const versionOf = async () => (await t.sql`select xmin::text, last_contact_at from targets`)[0];
  const before = await versionOf();
  notes.note(stepId, refused);
  await notes.flush();
  expect(await versionOf()).toEqual(before);
  notes.note(stepId, reached);
  await notes.flush();
  expect(await healthOf(t, targetId)).toEqual(['ok', null]);
  await t.sql`update targets set last_contact_at = now() - interval '31 s'`;
  const old = await versionOf();
  notes.note(stepId, reached);
  await notes.flush();
  expect(await versionOf()).not.toEqual(old);
});

test('a target that is being changed is not waited for; the others are written', async () => {
  await using t = await setupRuns();
  const { notes, logged } = notesOf(t);
  const steps = await stepsOf(t, 2);
  const busy = steps[0]?.targetId ?? 0;
  const release = await holdTransaction(t.sql, (tx) => tx`select from targets where id = ${busy} for update`);
  for (const { stepId } of steps) notes.note(stepId, reached);
  await notes.flush();
  await release();
  expect(await healthOf(t, busy)).toEqual(['never', null]);
  expect(await healthOf(t, steps[1]?.targetId)).toEqual(['ok', null]);
  expect(logged).toEqual([]);
});

test('a failed write is logged and does not keep later ones from being written', async () => {
  await using t = await setupRuns();
  const { notes, logged } = notesOf(t);
  const [step] = await stepsOf(t, 1);
  await t.sql`alter table targets rename column last_contact_ok to away`;
  notes.note(step?.stepId ?? 0, reached);
  await notes.flush();
  expect(logged).toHaveLength(1);
  await t.sql`alter table targets rename column away to last_contact_ok`;
  notes.note(step?.stepId ?? 0, reached);
  await notes.flush();
  expect(await healthOf(t, step?.targetId)).toEqual(['ok', null]);
});

test('a target whose row can’t be written keeps the health of no others from being updated', async () => {
  await using t = await setupRuns();
  const { notes, logged } = notesOf(t);
  const steps = await stepsOf(t, 5);
  const bad = steps[1];
  await t.sql.unsafe(`
    create function refuse() returns trigger language plpgsql as $$
      begin raise exception 'this row can not be written'; end $$;
    create trigger refuse before update on targets for each row when (old.id = ${bad?.targetId}) execute function refuse()`);
  for (const { stepId } of steps) notes.note(stepId, reached);
  await notes.flush();
  const known = await Promise.all(steps.map(({ targetId }) => healthOf(t, targetId)));
  expect(known.map(([health]) => health === 'ok')).toEqual([true, false, true, true, true]);
  expect(logged).toMatchObject([[{ steps: [bad?.stepId] }, expect.anything()]]);
});

test('a changed key is cleared once a step meets the accepted one on a new connection, not an older one', async () => {
  await using t = await setupRuns();
  const { notes } = notesOf(t);
  const [before, anew, justSeen] = await stepsOf(t, 3);
  await t.sql`
    insert into target_host_keys (target_id, fingerprint, key_type, state, seen_at)
    select id, 'SHA256:other', 'ssh-ed25519', 'changed',
      now() - case when id = ${justSeen?.targetId ?? 0} then interval '0 s' else interval '1 min' end
    from targets`;
  notes.note(before?.stepId ?? 0, { ...success, ssh: { ...ssh, reused: true } });
  for (const step of [anew, justSeen]) notes.note(step?.stepId ?? 0, reached);
  await notes.flush();
  const left = await t.sql`select target_id from target_host_keys where state = 'changed' order by target_id`;
  expect(left.map(({ targetId }) => targetId)).toEqual([before?.targetId, justSeen?.targetId]);
});
