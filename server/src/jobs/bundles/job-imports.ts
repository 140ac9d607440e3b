// Imports of job files: each is read, planned and applied in the background, while the requests for that are answered
// at once and report the progress. The state of an import is in the database, so that any server can report it. If an
// import's server has stopped, whoever looks at the import next ends it.
import { randomUUID } from 'node:crypto';
import {
  type ApplyJobImportRequest,
  type ConvertedJobs,
  type CreateJobImportQuery,
  type ImportChoicesRequest,
  type JobImport,
  type JobImportHead,
  type JobImportItemDetail,
  type JobImportQuery,
  limits,
} from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import type { Authority } from '../../auth/authority.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { AppError, notFound } from '../../errors.ts';
import type { Log } from '../../log.ts';
import type { Queryable, Sql, Tx } from '../../store/database/connection.ts';
import { pageOf } from '../../store/database/cursor.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import {
  beatImport,
  deleteImport,
  deleteImportItems,
  endReading,
  endSilentImports,
  findImport,
  findImportItem,
  insertImport,
  interruptImport,
  type JobImportRow,
  listImportItems,
  listImports,
  lockImport,
  startApplying,
} from '../../store/jobs/job-imports.ts';
import { refuseUnstorableText } from '../../validation/storable-text.ts';
import { applyImport, refuseChangedJobs } from './apply-import.ts';
import { convertFile } from './convert-file.ts';
import { ImportSeal } from './import-seal.ts';
import { detailOf, headOf, itemOf } from './import-view.ts';
import { choose } from './planning/choose.ts';
import { abandoned, ImportPlanner } from './planning/import-planner.ts';
import { readFile } from './reading/read-file.ts';

const maxAtOnce = 2;
const beatEveryMs = 500;

export interface JobImportsDeps {
  sql: Sql;
  masterKey: MasterKey;
  log: Log;
}

export class JobImports {
  readonly #deps: JobImportsDeps;
  readonly #tasks = new Map<string, { abort: AbortController; ended: Promise<void> }>();
  /** Imports that are about to begin. */
  #beginning = 0;
  #isStopped = false;

  constructor(deps: JobImportsDeps) {
    this.#deps = deps;
  }

  /**
   * Begins to read a file.
   * @throws {AppError} `rate_limited` while this server is busy with two others; `invalid` for an empty file.
   */
  async create(
    { format = 'bundle', existing = 'update', note = '' }: CreateJobImportQuery,
    bytes: Uint8Array,
    caller: Caller,
  ): Promise<JobImport> {
    if (bytes.length === 0) throw new AppError('invalid', 'The file is empty.');
    refuseUnstorableText({ note }, 'query');
    const { sql, masterKey } = this.#deps;
    const id = randomUUID();
    const { seal, wrapped: dataKey } = ImportSeal.make(masterKey, id);
    const insert = (tx: Tx) =>
      insertImport(tx, { id, createdBy: caller.userId, format, existing, note, dataKey });
    await this.#start(id, insert, async (signal) => {
      const planner = new ImportPlanner(this.#deps, { importId: id, seal, existing, note }, caller);
      const beat = this.#beats(id);
      for await (const batch of readFile(bytes, format, signal)) {
        planner.tell(batch.problems);
        planner.note(batch.findings);
        await planner.take(batch.jobs);
        await beat({
          percent: Math.min(99, Math.floor(batch.done * 100)),
          jobsDone: planner.jobsDone,
          jobsTotal: null,
        });
      }
      const { problems, findings, ...planned } = await planner.end();
      const status = planned.problemCount > 0 ? 'refused' : 'planned';
      await inTransaction(sql, async (tx) => {
        if (status === 'refused') await deleteImportItems(tx, id);
        await endReading(tx, id, { ...planned, status, report: seal.sealReport({ problems, findings }) });
      });
    });
    return this.get(id, {}, caller);
  }

  /** Returns the newest imports of the caller. */
  async list(caller: Caller): Promise<{ items: JobImportHead[] }> {
    await endSilentImports(this.#deps.sql, caller.userId);
    const rows = await listImports(this.#deps.sql, caller.userId, caller.authority.reach('jobs.edit'));
    return { items: rows.map(headOf) };
  }

  /** @throws {AppError} `not_found`; `invalid` for a malformed cursor. */
  async get(id: string, query: JobImportQuery, caller: Caller): Promise<JobImport> {
    refuseUnstorableText(query, 'query');
    const { sql } = this.#deps;
    const row = await this.#find(sql, id, caller);
    const seal = this.#sealOf(row);
    const limit = query.limit ?? limits.defaultPageItems;
    const items = await listImportItems(sql, id, { ...query, limit });
    const { problems, findings } = seal.openReport(row.report);
    return {
      ...headOf(row),
      problems,
      findings,
      newCategories: row.newCategories,
      ...pageOf(
        items,
        limit,
        (item) => [item.position],
        (item) => itemOf(item, seal),
      ),
    };
  }

  /** @throws {AppError} `not_found`. */
  async getItem(id: string, position: number, caller: Caller): Promise<JobImportItemDetail> {
    const row = await this.#find(this.#deps.sql, id, caller);
    const item = await findImportItem(this.#deps.sql, id, position);
    if (item === undefined) throw notFound('Job of the import');
    return detailOf(item, this.#sealOf(row));
  }

  /** @throws {AppError} `not_found`; `conflict` unless it is planned; `invalid`. */
  async choose(id: string, request: ImportChoicesRequest, caller: Caller): Promise<JobImport> {
    refuseUnstorableText(request);
    await inTransaction(this.#deps.sql, async (tx) => {
      const row = await lockImport(tx, id, caller.userId, caller.authority.reach('jobs.edit'));
      if (row === undefined) throw notFound('Import');
      refuseUnplanned(row);
      await choose(tx, this.#deps, { row, seal: this.#sealOf(row) }, request, caller);
    });
    return this.get(id, {}, caller);
  }

  /**
   * Begins to apply a plan.
   * @param authorityNow Returns the caller's rights as they are when it is called; undefined if these have ended.
   * @throws {AppError} `not_found`; `conflict` unless it is planned, without conflicts, and the jobs have not changed
   * since.
   */
  async apply(
    id: string,
    { note: told }: ApplyJobImportRequest,
    caller: Caller,
    authorityNow: () => Promise<Authority | undefined> = async () => caller.authority,
  ): Promise<JobImport> {
    refuseUnstorableText({ note: told });
    const { sql } = this.#deps;
    await this.#find(sql, id, caller);
    const claim = async (tx: Tx) => {
      const found = await lockImport(tx, id, caller.userId, caller.authority.reach('jobs.edit'));
      if (found === undefined) throw notFound('Import');
      refuseUnplanned(found);
      refuseConflicts(found);
      await refuseChangedJobs(tx, id);
      await startApplying(tx, id);
      await recordAudit(tx, {
        ...auditedBy(caller),
        action: 'jobs.import_started',
        object: { kind: 'job_import', id },
        detail: { format: found.format, ...found.counts },
      });
      return found;
    };
    await this.#start(id, claim, async (signal, row) => {
      const beat = this.#beats(id);
      await applyImport(this.#deps, {
        row,
        seal: this.#sealOf(row),
        note: told ?? row.note,
        caller,
        authorityNow,
        onProgress: async (jobsDone) => {
          signal.throwIfAborted();
          const { jobsTotal } = row;
          const percent = Math.min(99, Math.floor((100 * jobsDone) / Math.max(1, jobsTotal ?? 1)));
          await beat({ percent, jobsDone, jobsTotal });
        },
      });
    });
    return this.get(id, {}, caller);
  }

  /** @throws {AppError} `not_found`; `conflict` while it is being applied. */
  async remove(id: string, caller: Caller): Promise<void> {
    await this.#find(this.#deps.sql, id, caller);
    await inTransaction(this.#deps.sql, async (tx) => {
      const row = await lockImport(tx, id, caller.userId, caller.authority.reach('jobs.edit'));
      if (row === undefined) throw notFound('Import');
      if (row.status === 'applying') {
        throw new AppError(
          'conflict',
          'The import is being applied, whole or not at all. Wait until it has ended.',
        );
      }
      await deleteImport(tx, id);
    });
    this.#tasks.get(id)?.abort.abort();
  }

  /**
   * Converts jobs of another scheduler; nothing is kept.
   * @throws {AppError} `rate_limited` while this server is busy with two files; `invalid` with all problems of this
   * one.
   */
  async convert(bytes: Uint8Array): Promise<ConvertedJobs> {
    if (bytes.length === 0) throw new AppError('invalid', 'The file is empty.');
    this.#refuseTooMany();
    const id = randomUUID();
    const abort = new AbortController();
    const converted = convertFile(readFile(bytes, 'rundeck', abort.signal));
    const ended = converted.then(
      () => undefined,
      () => undefined,
    );
    this.#tasks.set(id, { abort, ended });
    return converted.finally(() => this.#tasks.delete(id));
  }

  /** Resolves once this server is no longer working on the import. */
  async settled(id: string): Promise<void> {
    await this.#tasks.get(id)?.ended;
  }

  /** Abandons what is in progress; it counts as interrupted. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    const tasks = [...this.#tasks.values()];
    for (const { abort } of tasks) abort.abort();
    await Promise.all(tasks.map(({ ended }) => ended));
  }

  async #find(sql: Queryable, id: string, caller: Caller): Promise<JobImportRow> {
    await endSilentImports(sql, caller.userId);
    const row = await findImport(sql, id, caller.userId, caller.authority.reach('jobs.edit'));
    if (row === undefined) throw notFound('Import');
    return row;
  }

  #sealOf({ id, dataKey }: JobImportRow): ImportSeal {
    return ImportSeal.open(this.#deps.masterKey, id, dataKey);
  }

  #refuseTooMany(): void {
    if (this.#isStopped) throw new AppError('unavailable', 'The server is stopping; try again.');
    if (this.#tasks.size + this.#beginning < maxAtOnce) return;
    throw new AppError('rate_limited', 'Other imports are under way; try again in a few seconds.', {
      retryAfterS: 5,
    });
  }

  /**
   * Prepares an import and begins it. The import takes its place before the first wait: otherwise simultaneous requests
   * would all find the same place free.
   */
  async #start<T>(
    id: string,
    prepare: (tx: Tx) => Promise<T>,
    work: (signal: AbortSignal, prepared: T) => Promise<void>,
  ): Promise<void> {
    this.#refuseTooMany();
    this.#beginning += 1;
    try {
      const prepared = await inTransaction(this.#deps.sql, prepare);
      this.#begin(id, (signal) => work(signal, prepared));
    } finally {
      this.#beginning -= 1;
    }
  }

  #begin(id: string, work: (signal: AbortSignal) => Promise<void>): void {
    const abort = new AbortController();
    const ended = work(abort.signal)
      .catch((error: unknown) => this.#interrupt(id, error))
      .catch((error: unknown) =>
        this.#deps.log.warn(
          { err: error, import: id },
          'an import of jobs ended, but that could not be recorded',
        ),
      )
      .finally(() => this.#tasks.delete(id));
    this.#tasks.set(id, { abort, ended });
  }

  async #interrupt(id: string, error: unknown): Promise<void> {
    const reason = reasonOf(error, this.#isStopped);
    if (!(error instanceof AppError) && !this.#isStopped && !isAbort(error)) {
      this.#deps.log.error({ err: error, import: id }, 'an import of jobs failed; nothing was changed');
    }
    await interruptImport(this.#deps.sql, id, reason);
  }

  /**
   * Returns a function that records the progress of an import from time to time. It throws if the import was abandoned
   * meanwhile.
   */
  #beats(id: string) {
    let beatenMs = performance.now();
    return async (progress: {
      percent: number;
      jobsDone: number;
      jobsTotal: number | null;
    }): Promise<void> => {
      if (performance.now() - beatenMs < beatEveryMs) return;
      beatenMs = performance.now();
      if (!(await beatImport(this.#deps.sql, id, progress))) throw abandoned();
    };
  }
}

function reasonOf(error: unknown, isStopped: boolean): string {
  if (isStopped) return 'The server was stopped; nothing was changed. Import the file again.';
  if (error instanceof AppError) return error.message;
  return 'Something went wrong; the server’s log has the details. Nothing was changed. Import the file again.';
}

function isAbort(error: unknown): boolean {
  return (error as { name?: string }).name === 'AbortError';
}

function refuseUnplanned({ status, isExpired, appliedAt }: JobImportRow): void {
  const message = {
    reading: 'The file is still being read; wait for its plan.',
    refused: 'The file has problems; fix it and import it again.',
    planned: isExpired ? 'This plan is too old; import the file again.' : undefined,
    applying: 'It is already being applied.',
    applied: `It was applied at ${appliedAt?.toISOString() ?? ''}; import the file again.`,
    interrupted: 'It was interrupted; import the file again.',
  }[status];
  if (message !== undefined) throw new AppError('conflict', message);
}

function refuseConflicts({ counts: { conflict } }: JobImportRow): void {
  if (conflict === 0) return;
  const jobs = conflict === 1 ? 'one job is' : `${conflict} jobs are`;
  throw new AppError(
    'conflict',
    `In this import, ${jobs} in conflict with existing jobs. Choose what to do with them, then apply it.`,
  );
}
