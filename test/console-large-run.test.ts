// A run on thousands of hosts in the console, in a real browser: its page reads what is looked at, and its tab stays small.
import type { RunDetail } from '@opsconductor/protocol';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { ConsoleSystem, eventually, missing } from './console-browser.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 });

const hosts = 5_000;
const stepsEach = 20;

let c: ConsoleSystem;
let runId: number;
beforeAll(async () => {
  if (missing !== undefined) return;
  c = await ConsoleSystem.start();
});
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

/** A run that has ended on one host, and then on all the others. */
async function largeRun(): Promise<number> {
  const { api, sql } = c.system;
  const { id: jobId } = await api.made<{ id: number }>('/api/v1/jobs', {
    name: 'Patch the fleet',
    steps: Array.from({ length: stepsEach }, (_, n) => ({
      name: `part ${n + 1}`,
      type: 'ssh.exec',
      config: { command: `echo part ${n + 1}` },
    })),
  });
  const { body: targets } = await api.get<{ items: { id: number }[] }>('/api/v1/targets');
  const run = await api.made<RunDetail>(`/api/v1/jobs/${jobId}/run`, { targetIds: [targets.items[0]?.id] });
  const status = async () => (await api.get<RunDetail>(`/api/v1/runs/${run.id}`)).body.status;
  await eventually(status).toBe('succeeded');
  await grow(sql, run.id);
  return run.id;
}

/** As if it had run on all of them: of each hundred one failed at its third step, and what became of five is not known. */
async function grow(sql: ConsoleSystem['system']['sql'], id: number): Promise<void> {
  const ended = sql`case when n % 1000 = 7 then 'unknown' when n % 100 = 1 then 'failed' else 'succeeded' end`;
  await sql`
    insert into job_run_targets (job_run_id, segment_id, target_name, status, started_at, completed_at)
    select job_run_id, segment_id, 'app-' || n, ${ended}, started_at, completed_at
    from job_run_targets cross join generate_series(2, ${hosts}) n where job_run_id = ${id}`;
  await sql`
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status, epoch,
      agent_id, leased_at, started_at, completed_at, execution_time_ms, exit_code, reason, output_state)
    select tr.job_run_id, tr.id, tr.segment_id, st.step_number, st.step_type, st.time_budget_s,
      case when tr.status = 'succeeded' or st.step_number < 3 then 'succeeded' when st.step_number = 3 then tr.status else 'skipped' end,
      case when tr.status = 'succeeded' or st.step_number <= 3 then 1 else 0 end,
      st.agent_id, st.leased_at, st.started_at, st.completed_at, st.execution_time_ms,
      case when tr.status = 'failed' and st.step_number = 3 then 3 else 0 end,
      case when tr.status = 'failed' and st.step_number = 3 then 'exit_code' when tr.status = 'unknown' and st.step_number = 3 then 'agent_silent' end,
      'complete'
    from job_run_targets tr cross join job_run_steps st
    where tr.job_run_id = ${id} and tr.target_id is null and st.job_run_id = ${id}
    order by tr.id, st.step_number`;
  await sql`alter table job_runs disable trigger user`;
  await sql`
    update job_runs set status = 'unknown', targets_total = ${hosts}, total_steps = ${hosts * stepsEach},
      completed_steps = ${hosts * stepsEach},
      targets_succeeded = (select count(*) from job_run_targets where job_run_id = ${id} and status = 'succeeded'),
      targets_failed = (select count(*) from job_run_targets where job_run_id = ${id} and status = 'failed'),
      targets_unknown = (select count(*) from job_run_targets where job_run_id = ${id} and status = 'unknown')
    where id = ${id}`;
  await sql`alter table job_runs enable trigger user`;
  await sql`analyze job_run_targets, job_run_steps`;
}

test('the page of a run on 5,000 hosts with 20 steps each reads its hosts, and steps of those that are looked at', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  runId = await largeRun();
  const { page, faults } = await c.signedIn();
  const devtools = await page.context().newCDPSession(page);
  let stepsRead = 0;
  page.on('response', async (response) => {
    if (!response.url().includes(`/runs/${runId}/steps`)) return;
    const { steps } = (await response.json().catch(() => ({ steps: [] }))) as { steps?: unknown[] };
    stepsRead += steps?.length ?? 0;
  });
  await page.goto(`${c.url}/runs/${runId}`);
  await page
    .getByRole('group', { name: 'Filter hosts by state' })
    .getByRole('button', { name: '49 failed' })
    .waitFor();
  // What became of the host that is shown first is not known, and the note above says of which agent.
  await page.getByText('5 hosts are unknown.').waitFor();
  await page.getByRole('region', { name: /^Output of app-7, step 3/ }).waitFor();
  await devtools.send('HeapProfiler.collectGarbage');
  const { usedSize } = (await devtools.send('Runtime.getHeapUsage')) as { usedSize: number };
  expect(usedSize).toBeLessThan(40_000_000);
  expect(stepsRead).toBeLessThan(1_000);

  // A filter by reason has the steps of all hosts that failed read.
  const filter = page.getByRole('textbox', { name: 'Filter hosts' });
  await filter.fill('why:exit_3');
  await page.getByRole('region', { name: 'Map of the hosts' }).getByText('49 failed').waitFor();
  await filter.fill('');

  // As rows they have their steps once they are in view, also after a jump to the end of the list.
  await page.getByRole('button', { name: 'Rows', exact: true }).click();
  await page.getByRole('gridcell', { name: 'part 3: unknown' }).first().waitFor();
  await page.getByRole('gridcell', { name: 'part 3: failed, exit 3' }).first().waitFor();
  await page
    .getByRole('gridcell', { name: /4,946 succeeded/ })
    .last()
    .click();
  const rows = page.locator('.rows').first();
  await rows.evaluate((element) => element.scrollTo({ top: element.scrollHeight }));
  const last = page.getByRole('row').filter({ hasText: 'app-5000' });
  await last.getByRole('gridcell', { name: /^part 20: succeeded/ }).waitFor();
  expect(stepsRead).toBeLessThan(10_000);

  // A host that the address names has its steps, and one leads to the next by the keys.
  await page.goto(`${c.url}/runs/${runId}?host=${await hostId('app-2001')}`);
  await page.getByRole('region', { name: /^Output of app-2001, step 3/ }).waitFor();
  await page.getByText('exit 3').first().waitFor();

  // On a host whose steps are not there yet, the key for the next step leads to none: its page goes to the one that failed.
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  await page.route(/\/steps\?/, async (route) => {
    await released;
    await route.continue();
  });
  const asked = page.waitForRequest(/\/steps\?/);
  await page.goto(`${c.url}/runs/${runId}?host=${await hostId('app-3001')}`);
  await asked;
  await page.keyboard.press('l');
  release();
  await page.getByRole('region', { name: /^Output of app-3001, step 3/ }).waitFor();
  expect(faults).toEqual([]);
});

async function hostId(name: string): Promise<number> {
  const [row] = await c.system.sql<{ id: number }[]>`
    select id from job_run_targets where job_run_id = ${runId} and target_name = ${name}`;
  return row?.id ?? 0;
}
