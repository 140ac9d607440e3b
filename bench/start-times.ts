// Measures from a run's POST to the start of its step in the agent, at a steady rate of runs.
import { readFile, rm } from 'node:fs/promises';
import type { Sql } from '../server/src/store/database/connection.ts';
import { type BenchSystem, until } from './bench-system.ts';

/** Milliseconds of the clock shared by all processes of a machine. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export class StartTimes {
  readonly #system: BenchSystem;
  readonly #sql: Sql;
  readonly #jobId: number;
  readonly #file: string;

  /** @param file where the agent writes which steps it has started. */
  constructor(system: BenchSystem, sql: Sql, jobId: number, file: string) {
    this.#system = system;
    this.#sql = sql;
    this.#jobId = jobId;
    this.#file = file;
  }

  /**
   * Returns how many single-step runs a few clients complete per second, each waiting for its answer before the next.
   */
  async sustained(runs: number, clients: number): Promise<number> {
    const begunMs = monotonicMs();
    const left = Array.from({ length: runs }, (_, n) => n);
    const ids: number[] = [];
    const client = async () => {
      for (let n = left.pop(); n !== undefined; n = left.pop()) ids.push(await this.#start(n));
    };
    await Promise.all(Array.from({ length: clients }, client));
    await this.#ended(ids);
    return runs / ((monotonicMs() - begunMs) / 1000);
  }

  /** Returns milliseconds from each POST to the start of its step. */
  async at(perSecond: number, runs: number): Promise<number[]> {
    await this.#startsOfSteps(); // Discards earlier ones, as only a limited number is kept.
    const begunMs = monotonicMs();
    const posts: Promise<{ runId: number; postedMs: number }>[] = [];
    for (let n = 0; n < runs; n += 1) {
      const waitMs = begunMs + (n * 1000) / perSecond - monotonicMs();
      if (waitMs > 0) await new Promise((next) => setTimeout(next, waitMs));
      const postedMs = monotonicMs();
      posts.push(this.#start(n).then((runId) => ({ runId, postedMs })));
    }
    const posted = await Promise.all(posts);
    const runIds = posted.map(({ runId }) => runId);
    await this.#ended(runIds);
    const startedMs = new Map(await this.#startsOfSteps());
    const steps = await this.#sql<{ id: number; jobRunId: number }[]>`
      select id, job_run_id from job_run_steps where job_run_id = any(${runIds}::bigint[])`;
    const stepOf = new Map(steps.map(({ id, jobRunId }) => [jobRunId, id]));
    return posted.map(({ runId, postedMs }) => {
      const at = startedMs.get(stepOf.get(runId) ?? 0);
      if (at === undefined) throw new Error(`the agent told nothing of run ${runId}`);
      return at - postedMs;
    });
  }

  async #start(n: number): Promise<number> {
    const { targetIds } = this.#system;
    const target = targetIds[n % targetIds.length] ?? 0;
    return (await this.#system.startRun(this.#jobId, [target])).id;
  }

  async #ended(runIds: readonly number[]): Promise<void> {
    await until(async () => {
      const [row] = await this.#sql<{ ended: number }[]>`
        select count(*)::int as ended from job_runs
        where id = any(${runIds as number[]}::bigint[]) and status = 'succeeded'`;
      return row?.ended === runIds.length;
    });
  }

  async #startsOfSteps(): Promise<[number, number][]> {
    await rm(this.#file, { force: true });
    process.kill(this.#system.agentPid, 'SIGUSR2');
    let starts: [number, number][] = [];
    await until(async () => {
      starts = JSON.parse(await readFile(this.#file, 'utf8')) as [number, number][];
      return true;
    });
    return starts;
  }
}
