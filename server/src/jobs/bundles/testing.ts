// Imports for tests.
import type { ExportJobsQuery, JobImport } from '@opsconductor/protocol';
import { stringify } from 'yaml';
import type { Caller } from '../../caller.ts';
import { createLog } from '../../log.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { setupJobs, step, type TestJobs } from '../testing.ts';
import { exportJobs } from './export-jobs.ts';
import { JobImports } from './job-imports.ts';

export interface TestImports extends TestJobs {
  imports: JobImports;
  /** Plans an import of a text, and waits for the result. */
  plan(text: string, options?: object, caller?: Caller): Promise<JobImport>;
  /** Applies a plan, and waits until it has ended. */
  apply(planned: { id: string }, caller?: Caller): Promise<JobImport>;
  exportText(query?: ExportJobsQuery): Promise<string>;
}

export async function setupImports(): Promise<TestImports> {
  const t = await setupJobs();
  const log = createLog({ level: 'silent', plain: false });
  const imports = new JobImports({ ...t, log });
  return Object.assign(t, {
    imports,
    async plan(text: string, options: object = {}, caller = t.caller) {
      const { id } = await imports.create(options, Buffer.from(text), caller);
      await imports.settled(id);
      return imports.get(id, { limit: 200 }, caller);
    },
    async apply({ id }: { id: string }, caller = t.caller) {
      await imports.apply(id, {}, caller);
      await imports.settled(id);
      return imports.get(id, { limit: 200 }, caller);
    },
    async exportText(query: ExportJobsQuery = {}) {
      let text = '';
      for await (const part of await exportJobs(t, query, unrestricted)) text += part;
      return text;
    },
  });
}

/** Returns a bundle of jobs as its text. */
export const bundle = (...jobs: object[]) => stringify({ format: 'opsconductor-jobs', version: 1, jobs });
/** Returns a job of a bundle. `beside`: what it has beside its definition. */
export const job = (name: string, fields: object = {}, beside: object = {}) => ({
  definition: { name, steps: [step('ask')], ...fields },
  ...beside,
});
/** Returns each planned job as one short text. */
export const short = (planned: Awaited<ReturnType<TestImports['plan']>>) =>
  planned.items.map(
    ({ name, action, conflict }) => `${name}: ${action}${conflict === null ? '' : ` (${conflict.reason})`}`,
  );
