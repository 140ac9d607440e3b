// Times the claim statement alone: alternately on empty tables and next to many finished steps, then with an open
// snapshot.
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../server/src/database/embedded-postgres.ts';
import { Claimer } from '../server/src/gateway/leases/claimer.ts';
import { connect, connectQueue, type Sql } from '../server/src/store/database/connection.ts';
import { migrate, readMigrations } from '../server/src/store/database/migrate.ts';
import { newClaimId } from '../server/src/store/queue/claims/claims.ts';
import { monotonicMs } from './start-times.ts';

const serverId = '0b7e1c52-0000-4000-8000-00000000be2c';
const slots = 16;
const liveRuns = 20;
const targetsPerRun = 1_000;
const stepsOfHistory = 10;

export interface ClaimTimes {
  empty: number[];
  full: number[];
  /** Times of the last claims before the snapshot was closed. */
  snapshot: number[];
  churned: number;
}

export async function claimTimes(options: {
  finishedSteps: number;
  claims: number;
  snapshotMinutes: number;
  claimsPerSecond: number;
}): Promise<ClaimTimes> {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-bench-'));
  // Run by root, PostgreSQL uses another account, which needs access.
  await chmod(dir, 0o755);
  const queues: ClaimQueue[] = [];
  try {
    const empty = await ClaimQueue.start(dir, 'empty');
    queues.push(empty);
    const full = await ClaimQueue.start(dir, 'full');
    queues.push(full);
    await full.addHistory(options.finishedSteps);
    const times: ClaimTimes = { empty: [], full: [], snapshot: [], churned: 0 };
    for (let n = -100; n < options.claims; n += 1) {
      const [ours, theirs] = [await full.claim(), await empty.claim()];
      if (n < 0) continue;
      times.full.push(ours);
      times.empty.push(theirs);
    }
    const closeSnapshot = await full.openSnapshot();
    const begunMs = monotonicMs();
    const untilMs = begunMs + options.snapshotMinutes * 60_000;
    for (let n = 0; monotonicMs() < untilMs || n < options.claims; n += 1) {
      const waitMs = begunMs + (n * 1000) / options.claimsPerSecond - monotonicMs();
      if (waitMs > 0) await new Promise((next) => setTimeout(next, waitMs));
      times.snapshot.push(await full.claim());
      times.churned += slots;
    }
    times.snapshot = times.snapshot.slice(-options.claims);
    await closeSnapshot();
    return times;
  } finally {
    for (const queue of queues) await queue.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

/** A database with one agent, and runs whose steps wait for it. */
class ClaimQueue {
  readonly #sql: Sql;
  /** Claims the way a server does, with statements that are planned once. */
  readonly #queue: Sql;
  readonly #claimer: Claimer;
  readonly #stopDatabase: () => Promise<void>;
  #waiting = 0;
  #segmentId = 0;
  #agentId = 0;

  private constructor(sql: Sql, stopDatabase: () => Promise<void>) {
    this.#sql = sql;
    this.#queue = connectQueue(sql, { max: 1 });
    this.#claimer = new Claimer({
      sql: this.#queue,
      serverId,
      held: () => [{ agentId: this.#agentId, steps: 0 }],
    });
    this.#stopDatabase = stopDatabase;
  }

  static async start(dir: string, name: string): Promise<ClaimQueue> {
    const folders = { dataDir: join(dir, name), systemFolder: join(dir, 'system') };
    const postgres = await startEmbeddedPostgres({ ...folders, log: () => {} });
    const sql = connect(postgres.url, { max: 2 });
    const queue = new ClaimQueue(sql, () => postgres.stop());
    try {
      await migrate(sql, await readMigrations(join(import.meta.dirname, '../migrations')));
      await queue.#fill();
      return queue;
    } catch (error) {
      await queue.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.#queue.end();
    await this.#sql.end();
    await this.#stopDatabase();
  }

  /** Returns how many milliseconds one claim takes; its steps then end at once. */
  async claim(): Promise<number> {
    if (this.#waiting < slots) await this.#addRuns(liveRuns);
    const begunMs = monotonicMs();
    const { steps } = await this.#claimer.next(newClaimId());
    const elapsedMs = monotonicMs() - begunMs;
    if (steps.length !== slots) throw new Error(`${steps.length} steps were claimed`);
    this.#waiting -= slots;
    this.#claimer.slotsFreed(this.#segmentId);
    await this.#sql`
      update job_run_steps set status = 'succeeded', completed_at = clock_timestamp(), output_state = 'complete'
      where id = any(${steps.map((step) => step.id)}::bigint[])`;
    return elapsedMs;
  }

  /** Opens a transaction that has read something, as a report or a backup would. */
  async openSnapshot(): Promise<() => Promise<void>> {
    let close = () => {};
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    let done: Promise<unknown> = Promise.resolve();
    await new Promise<void>((resolve, reject) => {
      done = this.#sql.begin('isolation level repeatable read', async (tx) => {
        await tx`set local idle_in_transaction_session_timeout = 0`;
        await tx`select count(*) from agents`;
        resolve();
        await closed;
      });
      done.catch(reject);
    });
    return async () => {
      close();
      await done;
    };
  }

  /** Adds runs that have ended, with all their rows except attempts and events. */
  async addHistory(steps: number): Promise<void> {
    const sql = this.#sql;
    // Checking each row's foreign keys would take too long, and the rows written here satisfy them.
    const references = await sql<{ name: string; definition: string }[]>`
      select conname as name, pg_get_constraintdef(oid) as definition from pg_constraint
      where conrelid = 'job_run_steps'::regclass and contype = 'f'`;
    for (const { name } of references) await sql`alter table job_run_steps drop constraint ${sql(name)}`;
    const runs = Math.ceil(steps / (targetsPerRun * stepsOfHistory));
    await this.#insertRuns(runs, { steps: stepsOfHistory, status: 'succeeded' });
    for (const { name, definition } of references)
      await sql.unsafe(`alter table job_run_steps add constraint ${name} ${definition} not valid`);
    await sql`vacuum analyze`;
  }

  async #addRuns(runs: number): Promise<void> {
    await this.#insertRuns(runs, { steps: 1, status: 'ready' });
    this.#waiting += runs * targetsPerRun;
    this.#claimer.lookAtAll();
  }

  async #insertRuns(
    runs: number,
    { steps, status }: { steps: number; status: 'ready' | 'succeeded' },
  ): Promise<void> {
    const sql = this.#sql;
    const hasEnded = status === 'succeeded';
    const batch = 50;
    for (let at = 0; at < runs; at += batch) {
      await sql`
        with run as (
          insert into job_runs (job_id, job_version, data_key, status, targets_total, targets_succeeded, total_steps,
            completed_steps, start_by)
          select j.id, 1, 'key', ${hasEnded ? 'succeeded' : 'queued'}, ${targetsPerRun}::int,
            ${hasEnded ? targetsPerRun : 0}::int, ${targetsPerRun * steps}::int,
            ${hasEnded ? targetsPerRun * steps : 0}::int, now() + interval '1 day'
          from jobs j, generate_series(1, ${Math.min(batch, runs - at)}::int)
          returning id
        ), target_run as (
          insert into job_run_targets (job_run_id, target_id, segment_id, target_name, status)
          select run.id, t.id, t.segment_id, t.name, ${hasEnded ? 'succeeded' : 'queued'} from run, targets t
          returning id, job_run_id, segment_id
        )
        insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status,
          epoch, agent_id, session_number, lease_token, completed_at)
        select t.job_run_id, t.id, t.segment_id, n, 'ssh.exec', 60, ${status}, ${hasEnded ? 1 : 0}::int,
          case when ${hasEnded}::boolean then a.id end, 1, replace(gen_random_uuid()::text, '-', ''),
          case when ${hasEnded}::boolean then now() end
        from target_run t, agents a, generate_series(1, ${steps}::int) n
        order by t.id, n`;
    }
  }

  async #fill(): Promise<void> {
    const sql = this.#sql;
    // No claim reads this index, and filling it with millions of equal names takes longer than everything else.
    await sql`drop index if exists job_run_targets_name`;
    const [segment] = await sql<{ id: number }[]>`
      insert into segments (name, root_key, root_key_sealed, key_generation) values ('segment', '\\x00', '\\x00', 1)
      returning id`;
    this.#segmentId = segment?.id ?? 0;
    await sql`insert into credentials (id, segment_id, name, kind)
      select gen_random_uuid(), id, 'deploy', 'ssh_password' from segments`;
    await sql`insert into targets (segment_id, name, host, credential_id)
      select c.segment_id, 'host-' || n, 'host-' || n, c.id from credentials c, generate_series(1, ${targetsPerRun}::int) n`;
    const [agent] = await sql<
      { id: number }[]
    >`insert into agents (segment_id, name, signing_key, encryption_key, version, platform, session_number)
      select id, 'agent', '\\x00', '\\x00', '1', 'linux-x64', 1 from segments returning id`;
    this.#agentId = agent?.id ?? 0;
    await sql`insert into agent_sessions (agent_id, session_number, server_id, slots, expires_at, ready)
      select id, 1, ${serverId}, ${slots}, now() + interval '1 day', true from agents`;
    await sql`insert into segment_keys (segment_id, generation, public_key) select id, 1, '\\x00' from segments`;
    await sql`insert into segment_key_wraps (segment_id, generation, agent_id, wrapped, opened_at)
      select segment_id, 1, id, 'wrapped', now() from agents`;
    await sql`insert into jobs (name, step_types, step_count, data_key, category_id)
      select 'job', '{ssh.exec}', 1, 'key', min(id) from categories`;
    await sql`insert into job_versions (job_id, version, definition, checksum, step_names, step_types)
      select id, 1, '\\x00', '\\x00', '{step}', '{ssh.exec}' from jobs`;
    await sql`vacuum analyze`;
  }
}
