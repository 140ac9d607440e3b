// Keeps track of which jobs break site rules, for the health of jobs: definitions are stored sealed, so no query can
// tell. A job is checked again when it, the rules or the categories have changed. One server at a time does this.
import { setImmediate } from 'node:timers/promises';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import type { Log } from '../log.ts';
import { Rounds } from '../rounds.ts';
import type { Sql, Tx } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import {
  clearChecks,
  saveChecks,
  siteRulesRevision,
  staleJobs,
  tryCheckLock,
} from '../store/jobs/site-rule-checks.ts';
import { loadSiteRules } from './site-rules.ts';
import { heldJob } from './violations.ts';

const portion = 200;
const defaultPauseMs = 15_000;
/** Stands for no revision, so that the job is checked again. */
const toBeLookedAt = '';

export interface CheckerDeps {
  sql: Sql;
  masterKey: MasterKey;
  log: Log;
  pauseMs?: number;
}

export class SiteRuleChecker {
  readonly #deps: CheckerDeps;
  /** Jobs that could not be opened in the last complete round, or since; each is logged once. */
  #unopened: ReadonlySet<number> = new Set();
  readonly #rounds: Rounds;

  constructor(deps: CheckerDeps) {
    this.#deps = deps;
    this.#rounds = new Rounds({ work: () => this.#checkAll(), pauseMs: deps.pauseMs ?? defaultPauseMs });
  }

  start(): void {
    this.#rounds.startLater();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
  }

  async #checkAll(): Promise<void> {
    const { log } = this.#deps;
    const unopened = new Set<number>();
    let looked: number | undefined;
    try {
      do looked = await checkSome(this.#deps, unopened);
      while (looked === portion && !this.#rounds.isStopped);
    } catch (error) {
      looked = undefined;
      log.warn(
        { err: error },
        'jobs could not be checked against the site rules; this is retried within seconds',
      );
    }
    const jobs = [...unopened].filter((id) => !this.#unopened.has(id));
    this.#unopened = looked === undefined ? new Set([...this.#unopened, ...unopened]) : unopened;
    if (jobs.length === 0) return;
    log.error(
      { jobs },
      'the definitions of these jobs can not be opened, so they are not checked against the site rules',
    );
  }
}

/**
 * Checks some of the outdated jobs. Returns how many, or undefined if another server is doing it.
 * @param unopened jobs of this round that could not be opened: new ones are added, and listed ones are skipped. The
 * next round tries them again, because nothing announces that they can be opened.
 */
export async function checkSome(
  { sql, masterKey }: Pick<CheckerDeps, 'sql' | 'masterKey'>,
  unopened: Set<number> = new Set(),
): Promise<number | undefined> {
  return inTransaction(sql, async (tx) => {
    if (!(await tryCheckLock(tx))) return undefined;
    const revision = await siteRulesRevision(tx);
    if (revision === undefined) return clearChecks(tx).then(() => 0);
    return check(tx, masterKey, revision, unopened);
  });
}

async function check(tx: Tx, masterKey: MasterKey, revision: string, unopened: Set<number>): Promise<number> {
  const rules = await loadSiteRules(tx);
  const jobs = await staleJobs(tx, revision, { limit: portion, except: [...unopened] });
  const checks: Parameters<typeof saveChecks>[1][number][] = [];
  for (const job of jobs) {
    // Administrators write the rules, which may take long, so other work gets its turn between two jobs.
    await setImmediate();
    const held = heldJob(masterKey, job);
    const isOpened = 'definition' in held;
    if (!isOpened) unopened.add(job.id);
    const { id: jobId, updatedAt } = job;
    checks.push({
      jobId,
      updatedAt,
      revision: isOpened ? revision : toBeLookedAt,
      broken: rules.problems(held),
    });
  }
  if (checks.length > 0) await saveChecks(tx, checks);
  return jobs.length;
}
