// Jobs for tests, created and changed through the same functions as by people.
import type { Job, JobDefinition, SaveJobReply } from '@opsconductor/protocol';
import { Authority, type Grant } from '../auth/authority.ts';
import type { Caller } from '../caller.ts';
import { setupInstallation, type TestInstallation } from '../segments/testing.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { createJob } from './create-job.ts';
import { getJob } from './list-jobs.ts';
import { saveJob } from './versions/save-job.ts';

export const step = (name: string, config: object = { command: 'uptime' }) => ({
  name,
  type: 'ssh.exec',
  config,
});

export interface TestJobs extends TestInstallation {
  /** Returns a caller with only these grants. */
  callerWith(...grants: Grant[]): Caller;
  create(definition: object, beside?: object): Promise<Job>;
  get(id: number): Promise<Job>;
  /** Saves the current definition with these fields replaced, based on the current version. */
  change(id: number, fields: Partial<JobDefinition>, beside?: object): Promise<SaveJobReply>;
  /** Adds ended runs of a job, in the given order, one minute apart, the last one now. */
  addRuns(jobId: number, statuses: readonly string[], version?: number): Promise<number[]>;
}

export async function setupJobs(): Promise<TestJobs> {
  const t = await setupInstallation();
  const get = (id: number) => getJob(t, id, unrestricted);
  return Object.assign(t, {
    callerWith: (...grants: Grant[]) => ({ ...t.caller, authority: new Authority(grants) }),
    create: (definition: object, beside?: object) => {
      const whole = { name: 'job', steps: [step('ask')], ...definition };
      return createJob(t, beside === undefined ? whole : { definition: whole, ...beside }, t.caller);
    },
    get,
    change: async (id: number, fields: Partial<JobDefinition>, beside: object = {}) => {
      const { definition, version } = await get(id);
      const request = { definition: { ...definition, ...fields }, expectedVersion: version, ...beside };
      return saveJob(t, id, request, t.caller);
    },
    addRuns: async (jobId: number, statuses: readonly string[], version = 1) => {
      const rows = await t.sql<{ id: number }[]>`
        insert into job_runs (job_id, job_version, status, data_key, targets_total, total_steps, start_by, created_at,
          started_at, completed_at, execution_time_ms)
        select ${jobId}, ${version}, s.status, 'x', 1, 1, now(), s.at, s.at,
          case when s.status not in ('queued', 'running', 'held', 'cancelling') then s.at end, 1000 * s.place
        from (select status, place, now() - make_interval(mins => ${statuses.length} - place::int) as at
                from unnest(${statuses as string[]}::text[]) with ordinality as given(status, place)) s
        order by s.place returning id`;
      return rows.map(({ id }) => id);
    },
  });
}
