import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { Authenticator } from '../auth/authenticator.ts';
import { hashSecretToken, makeSecretToken } from '../auth/secret-token.ts';
import { cancelRun } from '../runs/ends/cancel-run.ts';
import { resumeAgent } from '../runs/leases/resume-agent.ts';
import { endOf, givenUp, setupRuns } from '../runs/testing.ts';
import { enrollAgent } from '../segments/enrollment/enroll-agent.ts';
import { enrollRequest, makeAgentKeys, makeToken, testOrigin } from '../segments/testing.ts';
import { insertInstallation } from '../store/installation/installation.ts';
import { insertSession } from '../store/people/sessions.ts';
import { insertSignInCode, takeSignInCode } from '../store/people/sign-in-codes.ts';
import { markRestored } from './mark-restored.ts';
import { runRestoredCommand } from './restored-command.ts';

const migrations = resolve(import.meta.dirname, '../../../migrations');

async function setup() {
  const t = await setupRuns();
  await insertInstallation(t.sql, {
    id: t.identity.installationId,
    masterKeyId: t.masterKey.id,
    serverKey: Buffer.alloc(32),
    serverKeySealed: Buffer.from('sealed'),
  });
  return t;
}

test('open runs end: leased steps become unknown, the rest cancelled, and nothing is leased again', async () => {
  await using t = await setup();
  const begun = await t.start({ steps: 2, rules: [{ on_unknown: 'retry', idempotent: true }, {}] });
  const leased = await t.claimOne();
  const held = await t.start({ rules: [{ on_unknown: 'hold' }] });
  await t.settle(givenUp(await t.claimOne()));
  const waiting = await t.start({ targets: 2, job: { strategy: { max_parallel: 1 } } });
  const done = await t.start();
  const [one, two] = await t.claim();
  for (const step of [one, two]) if (step?.jobRunId === done) await t.settle(endOf(step));
  const marked = await markRestored(t.sql);
  expect(marked).toMatchObject({ timeline: 2, runs: 3, attempts: 2, agents: 1 });
  expect(await t.run(begun)).toMatchObject({
    status: 'unknown',
    errorMessage: expect.stringContaining('restored'),
  });
  expect(await t.steps(begun)).toMatchObject([
    { status: 'unknown', reason: 'database_restored' },
    { status: 'cancelled' },
  ]);
  expect(await t.run(held)).toMatchObject({ status: 'unknown' });
  expect(await t.run(waiting)).toMatchObject({ status: 'unknown' });
  expect((await t.steps(waiting)).map(({ status }) => status)).toEqual(['unknown', 'cancelled']);
  expect(await t.run(done)).toMatchObject({ status: 'succeeded', errorMessage: null });
  await t.connect(t.agent);
  expect(await t.claim()).toEqual([]);
  expect(leased.jobRunId).toBe(begun);
});

test('new runs and steps get numbers that nobody has seen', async () => {
  await using t = await setup();
  const before = await t.start();
  await t.claimOne();
  await markRestored(t.sql);
  await t.connect(t.agent);
  const after = await t.start();
  expect(after).toBeGreaterThan(before + 999_999);
  expect((await t.claimOne()).id).toBeGreaterThan(100_000_000);
});

test('restoring the same copy again gives out no number that was given out after the earlier restore', async () => {
  await using t = await setup();
  const sequences = ['job_runs', 'job_run_steps'];
  const copied = new Map<string, number>();
  for (const table of sequences) {
    const [row] = await t.sql<{ at: number }[]>`select nextval(pg_get_serial_sequence(${table}, 'id')) as at`;
    copied.set(table, row?.at ?? 0);
  }
  const markedAt = Date.parse('2026-11-28T09:00:00Z');
  await markRestored(t.sql, new Date(markedAt));
  await t.connect(t.agent);
  const run = await t.start();
  const step = await t.claimOne();
  await t.settle(endOf(step));
  for (const [table, at] of copied) await t.sql`select setval(pg_get_serial_sequence(${table}, 'id'), ${at})`;
  await markRestored(t.sql, new Date(markedAt + 60_000));
  await t.connect(t.agent);
  expect(await t.start()).toBeGreaterThan(run + 59_000);
  const later = await t.claimOne();
  expect(later.id).toBeGreaterThan(step.id + 5_900_000);
  expect(later.id).toBeLessThan(Number.MAX_SAFE_INTEGER / 1_000);
});

test('running the command twice does not move numbers past those of another copy that is restored soon after', async () => {
  await using t = await setup();
  await t.sql`update segments set roster_payload = '{}'`;
  const reached = async () => {
    const [row] = await t.sql<Record<'runs' | 'steps' | 'rosters', number>[]>`
      select nextval(pg_get_serial_sequence('job_runs', 'id')) as runs,
        nextval(pg_get_serial_sequence('job_run_steps', 'id')) as steps, (select max(roster_number) from segments) as rosters`;
    if (row === undefined) throw new Error('nothing was counted');
    return row;
  };
  const copied = await reached();
  const at = Date.parse('2026-11-28T09:00:00Z');
  for (const afterMs of [0, 0, 5, 900]) await markRestored(t.sql, new Date(at + afterMs));
  const twice = await reached();
  await t.sql`
    select setval(pg_get_serial_sequence('job_runs', 'id'), ${copied.runs}),
      setval(pg_get_serial_sequence('job_run_steps', 'id'), ${copied.steps})`;
  await t.sql`update segments set roster_number = ${copied.rosters}`;
  await markRestored(t.sql, new Date(at + 10_000));
  const other = await reached();
  for (const counted of ['runs', 'steps', 'rosters'] as const) {
    expect(twice[counted]).toBeGreaterThan(copied[counted]);
    expect(other[counted], counted).toBeGreaterThan(twice[counted]);
  }
});

test('things whose numbers are signed or pinned get no number of the lost time: agents, segments, targets, jobs', async () => {
  await using t = await setup();
  const next = async (table: string) => {
    const [row] = await t.sql<{ id: number }[]>`select nextval(pg_get_serial_sequence(${table}, 'id')) as id`;
    return row?.id ?? 0;
  };
  const tables = ['agents', 'segments', 'targets', 'jobs'];
  const numbers = async () =>
    new Map(await Promise.all(tables.map(async (table) => [table, await next(table)] as const)));
  const copied = await numbers();
  await markRestored(t.sql, new Date('2026-11-28T09:00:00Z'));
  const restored = await numbers();
  for (const [table, at] of copied) await t.sql`select setval(pg_get_serial_sequence(${table}, 'id'), ${at})`;
  await markRestored(t.sql, new Date('2026-11-28T09:01:00Z'));
  const again = await numbers();
  for (const table of tables) {
    expect(restored.get(table), table).toBeGreaterThan((copied.get(table) ?? 0) + 999_999);
    expect(again.get(table), table).toBeGreaterThan((restored.get(table) ?? 0) + 59_000);
  }
});

test('numbers still go up if the clock is years behind', async () => {
  await using t = await setup();
  const before = await t.start();
  await markRestored(t.sql, new Date('2019-01-01T00:00:00Z'));
  await t.connect(t.agent);
  expect(await t.start()).toBeGreaterThan(before + 999_999);
});

test('an agent that still knows how a step ended may report it, and the run keeps its outcome', async () => {
  await using t = await setup();
  const runId = await t.start();
  const step = await t.claimOne();
  await markRestored(t.sql);
  const { sessionNumber } = await t.connect(t.agent);
  await t.settle(endOf({ ...step, sessionNumber }));
  expect(await t.run(runId)).toMatchObject({ status: 'unknown' });
  expect((await t.steps(runId))[0]?.advice).toContain('reported: succeeded');
});

test('an agent that no longer knows an attempt does not prove that it never began', async () => {
  await using t = await setup();
  const runId = await t.start();
  await t.claimOne();
  await markRestored(t.sql);
  const { agentId, sessionNumber } = await t.connect(t.agent, { ready: false });
  const about = { version: '0.1.0', platform: 'linux-x64', hostname: null, slots: 8, draining: false };
  const resume = { agentId, sessionNumber, ...about, journalIntact: true, attempts: [] };
  expect((await resumeAgent(t.sql, resume))?.ends).toEqual([]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'unknown', reason: 'database_restored' }]);
});

test('a run that was being cancelled ends too', async () => {
  await using t = await setup();
  const runId = await t.start();
  await t.claimOne();
  await cancelRun(t.sql, runId, t.caller);
  await markRestored(t.sql);
  expect(await t.run(runId)).toMatchObject({ status: 'unknown' });
});

test('no session, sign-in link or unused enrollment token of the copy still works', async () => {
  await using t = await setup();
  const { sql } = t;
  const now = new Date();
  const expiresAt = new Date(now.getTime() + 3_600_000);
  const { userId } = t.caller;
  const [session, code] = [makeSecretToken(), makeSecretToken()];
  const about = { createdAt: now, expiresAt, address: '::1', userAgent: '', openedBy: 'password' } as const;
  await insertSession(sql, { userId, tokenHash: hashSecretToken(session), ...about });
  await insertSignInCode(sql, { codeHash: hashSecretToken(code), userId, expiresAt }, now);
  const enrollment = await enrollRequest(await makeToken(t, t.segmentId), 'late', await makeAgentKeys());

  await markRestored(sql);
  const authenticator = new Authenticator({ sql, now: () => now, sessionIdleMs: 3_600_000 });
  expect(await authenticator.bySession(session, '::1')).toBeUndefined();
  expect(await takeSignInCode(sql, hashSecretToken(code), now)).toBeUndefined();
  await expect(enrollAgent(t, enrollment, testOrigin)).rejects.toMatchObject({ code: 'unauthenticated' });
  const [row] = await sql`select detail from audit_log where action = 'installation.restored'`;
  expect(row).toMatchObject({ detail: { sessions: 1, signInCodes: 1, enrollmentTokens: 1 } });
});

test('the command says what it did, and refuses while a server works on the database', async () => {
  await using t = await setup();
  await t.start();
  await t.claimOne();
  const said: string[] = [];
  const command = { sql: t.sql, migrations, say: (text: string) => said.push(text) };
  // A server touches the clock while the command waits for that.
  const touched = () => t.sql`update cluster_clock set touched_at = clock_timestamp()`;
  const served = new Proxy(t.sql, {
    apply(target, self, args: [TemplateStringsArray]) {
      const query = Reflect.apply(target, self, args);
      return args[0].raw?.join('').includes('pg_sleep') ? touched().then(() => query) : query;
    },
  });
  expect(await runRestoredCommand({ ...command, sql: served, lookMs: 1 })).toBe(1);
  expect(said.splice(0)).toEqual([
    'A server is working on this database. Stop every server, then run this again.',
  ]);
  expect(await runRestoredCommand({ ...command, lookMs: 50 })).toBe(0);
  expect(said.join('\n')).toMatch(
    /timeline 2 now[\s\S]*1 open run ended, 1 step of them unknown[\s\S]*1 agent may come back as it is, once[\s\S]*0 sessions, 0 sign-in links and 0 enrollment tokens ended[\s\S]*Do again[\s\S]*delete API tokens/,
  );
  said.length = 0;
  expect(await runRestoredCommand({ ...command, lookMs: 50 })).toBe(0);
  expect(said.join('\n')).toMatch(/0 open runs ended[\s\S]*1 agent may come back as it is, once/);
  const rows = await t.sql`select detail from audit_log where action = 'installation.restored' order by id`;
  expect(rows).toMatchObject([
    { detail: { timeline: 2, runs: 1, attempts: 1 } },
    { detail: { timeline: 3 } },
  ]);
});
