// Applies a planned import: all of it in one transaction, or nothing. It is refused if one of its jobs has changed
// since, or a name has been taken.
import { setImmediate } from 'node:timers/promises';
import { type ErrorDetail, generalCategory, type JobDefinition } from '@opsconductor/protocol';
import type { AuditEntry } from '../../audit/record-audit.ts';
import { recordAudit } from '../../audit/record-audit.ts';
import { recordAudits } from '../../audit/record-audits.ts';
import type { Authority } from '../../auth/authority.ts';
import { MissingPermission } from '../../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { AppError } from '../../errors.ts';
import { loadSiteRules, type SiteRules } from '../../site-rules/site-rules.ts';
import { type Queryable, type Sql, type Tx, violatedConstraint } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { holdCategory, insertCategory, lockCategoryTree } from '../../store/jobs/categories.ts';
import {
  findJobsNamed,
  insertBundledJobs,
  insertVersionNames,
  linkTemplates,
  lockJobs,
  type NewBundledJob,
  nextJobIds,
} from '../../store/jobs/job-bundles.ts';
import {
  endApplying,
  type JobImportItemRow,
  type JobImportRow,
  listImportBases,
  nextImportItems,
  noteMadeJobs,
} from '../../store/jobs/job-imports.ts';
import { findVersionName, putVersionName } from '../../store/jobs/job-versions.ts';
import { setJobState } from '../../store/jobs/jobs.ts';
import { sealNewDefinition } from '../definition/seal-definition.ts';
import {
  clearColumnsOf,
  encodeWithinLimit,
  splitDefinition,
  stepTypesOf,
} from '../definition/split-definition.ts';
import { editableJob } from '../editable-job.ts';
import { changeSettings } from '../settings/change-settings.ts';
import { saveVersion } from '../versions/save-job.ts';
import type { ImportSeal, SealedItem } from './import-seal.ts';
import { wholeDefinition } from './planning/decide-item.ts';
import { baseOf } from './planning/existing-jobs.ts';
import { ImportRights } from './planning/import-rights.ts';
import { inJobs } from './reading/read-jobs.ts';

const itemsAtATime = 50;
const basesAtATime = 500;
const maxTold = 100;

export interface ApplyDeps {
  sql: Sql;
  masterKey: MasterKey;
}

interface Applying {
  row: JobImportRow;
  seal: ImportSeal;
  note: string;
  caller: Caller;
  /** Returns the caller's rights as they are now; undefined if their session or token, or their right, has ended. */
  authorityNow(): Promise<Authority | undefined>;
  /** Called after every few jobs; throws if the import should stop. */
  onProgress(jobsDone: number): Promise<void>;
}

/**
 * @throws {AppError} `conflict` if something has changed since it was planned; `forbidden` if the caller may no longer
 * do it. Nothing has changed then.
 */
export async function applyImport(deps: ApplyDeps, applying: Applying): Promise<void> {
  await inTransaction(deps.sql, (tx) => new Application(tx, deps.masterKey, applying).run()).catch(
    (error) => {
      const constraint = violatedConstraint(error);
      if (constraint !== 'jobs_name_key' && constraint !== 'categories_name_key') throw error;
      throw new AppError('conflict', 'A name in the file has just been taken; import the file again.', {
        cause: error,
      });
    },
  );
}

/**
 * Compares the jobs as they were planned with the jobs as they are now.
 * @throws {AppError} `conflict`, with a detail for each job that has changed.
 */
export async function refuseChangedJobs(sql: Queryable, importId: string): Promise<void> {
  const items = await listImportBases(sql, importId);
  const details: ErrorDetail[] = [];
  for (let at = 0; at < items.length; at += basesAtATime) {
    const some = items.slice(at, at + basesAtATime);
    const rows = await findJobsNamed(sql, [
      ...new Set(some.flatMap(({ name, fileName }) => [name, fileName])),
    ]);
    const byName = new Map(rows.map((row) => [row.name, row]));
    for (const item of some) {
      const message = changeOf(item, byName.get(item.action === 'create' ? item.name : item.fileName));
      if (message !== undefined)
        details.push({ path: inJobs(item, ''), message, found: item.fileName, line: item.line });
    }
  }
  const [first] = details;
  if (first === undefined) return;
  const others = details.length === 1 ? '' : ` ${details.length - 1} more have changed too.`;
  throw new AppError('conflict', `${first.message}${others} Import the file again.`, {
    details: details.slice(0, maxTold),
  });
}

function changeOf(
  { action, name, fileName, base }: Pick<JobImportItemRow, 'action' | 'name' | 'fileName' | 'base'>,
  row: Parameters<typeof baseOf>[0] | undefined,
): string | undefined {
  if (action === 'create') {
    return row === undefined ? undefined : `A job named ${name} has been created since this was planned.`;
  }
  if (action === 'skip' || action === 'conflict' || base === null) return undefined;
  if (row === undefined) return `Job “${fileName}” has been renamed or deleted since this was planned.`;
  return baseOf(row) === base ? undefined : `Job “${fileName}” has changed since this was planned.`;
}

class Application {
  readonly #tx: Tx;
  readonly #masterKey: MasterKey;
  readonly #import: Applying;
  readonly #categories = new Map<string, number>();
  readonly #rights: ImportRights;
  #done = 0;
  #rules: SiteRules | undefined;

  constructor(tx: Tx, masterKey: MasterKey, applying: Applying) {
    this.#tx = tx;
    this.#masterKey = masterKey;
    this.#import = applying;
    this.#rights = new ImportRights(tx, applying.caller);
  }

  async run(): Promise<void> {
    const { row } = this.#import;
    await this.#makeCategories();
    const bases = await listImportBases(this.#tx, row.id);
    await lockJobs(
      this.#tx,
      bases.flatMap(({ jobId }) => (jobId === null ? [] : [jobId])),
    );
    await refuseChangedJobs(this.#tx, row.id);
    const links: { jobId: number; template: string }[] = [];
    for (let after = 0; ; ) {
      const items = await nextImportItems(this.#tx, row.id, after, itemsAtATime);
      links.push(...(await this.#apply(items)));
      this.#done += items.length;
      await this.#import.onProgress(this.#done);
      after = items.at(-1)?.position ?? after;
      if (items.length < itemsAtATime) break;
    }
    if (links.length > 0) await linkTemplates(this.#tx, links, this.#import.caller.authority.reach('read'));
    await recordAudit(this.#tx, {
      ...auditedBy(this.#import.caller),
      action: 'jobs.imported',
      object: { kind: 'job_import', id: row.id },
      detail: {
        format: row.format,
        ...row.counts,
        ...(this.#import.note === '' ? {} : { note: this.#import.note }),
      },
    });
    await this.#requireRightsStill();
    if (!(await endApplying(this.#tx, row.id))) {
      throw new AppError('conflict', 'The import was abandoned meanwhile; nothing was changed.');
    }
  }

  /**
   * A large import takes minutes, in which the caller may lose the rights that it began with.
   * @throws {AppError} `forbidden`
   */
  async #requireRightsStill(): Promise<void> {
    const authority = await this.#import.authorityNow();
    const isStill =
      authority !== undefined &&
      [...this.#categories.values()].every((id) => authority.holdsOnCategory('jobs.edit', id));
    if (isStill) return;
    const message =
      'The right to do this was withdrawn while the import was being applied; nothing was changed.';
    throw new AppError('forbidden', message);
  }

  async #makeCategories(): Promise<void> {
    const { row, caller } = this.#import;
    if (row.newCategories.length === 0) return;
    if (!caller.authority.holdsEverywhere('categories.edit')) {
      throw new MissingPermission(
        caller,
        'categories.edit',
        'everything, because the import makes categories',
      );
    }
    await lockCategoryTree(this.#tx);
    for (const name of row.newCategories) {
      const at = name.lastIndexOf('/');
      const parentId = at < 0 ? null : await this.#heldCategory(name.slice(0, at));
      const id = await insertCategory(this.#tx, { name, description: '', parentId });
      await recordAudit(this.#tx, {
        ...auditedBy(caller),
        action: 'category.created',
        object: { kind: 'category', id },
        scope: { categoryId: id },
        detail: { name, description: '', import: row.id },
      });
      this.#categories.set(name, id);
    }
  }

  /** Returns the links to templates that remain to be made once all jobs exist. */
  async #apply(items: readonly JobImportItemRow[]): Promise<{ jobId: number; template: string }[]> {
    const opened: Opened[] = [];
    for (const item of items) {
      if (item.action !== 'create' && item.action !== 'update') continue;
      await setImmediate();
      const { entry } = this.#import.seal.openItem(item.position, item.sealed);
      opened.push({
        item,
        entry: { ...entry, definition: { ...wholeDefinition(entry.definition), name: item.name } },
      });
    }
    await this.#requireSavable(opened);
    const created = await this.#create(opened.filter(({ item }) => item.action === 'create'));
    const updates = opened.filter(({ item }) => item.action === 'update');
    for (const update of updates) await this.#update(update);
    await setImmediate();
    return [...created, ...updates.map(({ item, entry }) => ({ jobId: item.jobId ?? 0, entry }))].flatMap(
      ({ jobId, entry }) => (entry.madeFrom === undefined ? [] : [{ jobId, template: entry.madeFrom }]),
    );
  }

  /** Checks again what may have changed since the plan: rights, and the site rules. */
  async #requireSavable(opened: readonly Opened[]): Promise<void> {
    await this.#rights.prepare(opened.map(({ entry }) => entry.definition));
    this.#rules ??= await loadSiteRules(this.#tx);
    for (const { item, entry } of opened) {
      await setImmediate();
      this.#rules.refuseBroken({ definition: entry.definition, note: this.#import.note });
      const [problem] = this.#rights.problemsOf(entry.definition);
      if (problem === undefined) continue;
      throw new AppError('forbidden', `Job “${item.name}”: ${problem.message}`, {
        details: [{ ...problem, path: inJobs(item, `definition.${problem.path}`), line: item.line }],
      });
    }
  }

  #categoryId({ category = generalCategory.name }: JobDefinition): Promise<number> {
    return this.#heldCategory(category);
  }

  /** Returns the id of a category, which nobody can delete until the transaction ends. */
  async #heldCategory(name: string): Promise<number> {
    const known = this.#categories.get(name) ?? (await holdCategory(this.#tx, name))?.id;
    if (known === undefined)
      throw new AppError(
        'conflict',
        `Category “${name}” has been renamed or deleted since this was planned. Import the file again.`,
      );
    this.#categories.set(name, known);
    return known;
  }

  async #create(opened: readonly Opened[]): Promise<{ jobId: number; entry: Opened['entry'] }[]> {
    if (opened.length === 0) return [];
    const { row, note, caller } = this.#import;
    const ids = await nextJobIds(this.#tx, opened.length);
    const jobs: NewBundledJob[] = [];
    const audits: AuditEntry[] = [];
    for (const [n, { entry }] of opened.entries()) {
      await setImmediate();
      const id = ids[n] ?? 0;
      const { stored, settings } = splitDefinition(entry.definition);
      const { bytes, checksum } = encodeWithinLimit(stored);
      const { dataKey, definition } = sealNewDefinition(this.#masterKey, id, 1, bytes);
      const categoryId = await this.#categoryId(entry.definition);
      const state = entry.state ?? entry.firstState ?? 'active';
      const columns = clearColumnsOf(stored);
      jobs.push({
        id,
        name: stored.name,
        description: stored.description ?? '',
        categoryId,
        stepTypes: stepTypesOf(stored),
        stepCount: stored.steps.length,
        dataKey,
        state,
        labels: settings.labels ?? {},
        isTemplate: settings.isTemplate ?? false,
        definition,
        checksum,
        stepNames: columns.stepNames,
        allStepTypes: columns.stepTypes,
        stepCredentials: columns.stepCredentials,
        runAsCredentials: columns.runAsCredentials,
        stepRules: columns.stepRules,
      });
      audits.push({
        ...auditedBy(caller),
        action: 'job.created',
        object: { kind: 'job', id },
        scope: { categoryId },
        detail: {
          name: stored.name,
          category: entry.definition.category,
          version: 1,
          checksum: checksum.toString('hex'),
          ...(state === 'active' ? {} : { state }),
          ...(note === '' ? {} : { note }),
          import: row.id,
        },
      });
    }
    await insertBundledJobs(this.#tx, jobs, { note, createdBy: caller.userId });
    const names = opened.flatMap(({ entry }, n) =>
      namesOf(entry).map((name) => ({ jobId: ids[n] ?? 0, version: 1, ...name })),
    );
    await insertVersionNames(this.#tx, names, caller.userId);
    await noteMadeJobs(
      this.#tx,
      row.id,
      opened.map(({ item }, n) => ({ position: item.position, jobId: ids[n] ?? 0 })),
    );
    await recordAudits(this.#tx, audits);
    return opened.map(({ entry }, n) => ({ jobId: ids[n] ?? 0, entry }));
  }

  async #update({ item, entry }: Opened): Promise<void> {
    const { caller, note } = this.#import;
    const id = item.jobId ?? 0;
    const { stored, settings } = splitDefinition(entry.definition);
    const job = await editableJob(this.#tx, id, caller);
    await changeSettings(this.#tx, job, settings, caller);
    const moved = {
      ...job,
      categoryId: await this.#categoryId(entry.definition),
      category: settings.category ?? job.category,
    };
    const next = { job: moved, stored, note, restores: null };
    const version = (await saveVersion(this.#tx, this.#masterKey, next, caller)) ?? job.version;
    const object = { kind: 'job', id };
    const scope = { categoryId: moved.categoryId };
    if (entry.state !== undefined && entry.state !== job.state) {
      await setJobState(this.#tx, [id], { state: entry.state, note, updatedBy: caller.userId });
      const detail = { name: stored.name, from: job.state, to: entry.state };
      await recordAudit(this.#tx, {
        ...auditedBy(caller),
        action: 'job.state_changed',
        object,
        scope,
        detail,
      });
    }
    for (const { name, kind } of namesOf(entry)) {
      if ((await findVersionName(this.#tx, id, name))?.version === version) continue;
      await putVersionName(this.#tx, { jobId: id, name, kind, version, setBy: caller.userId });
      const action = kind === 'tag' ? 'job.tagged' : 'job.channel_set';
      const detail = { name: stored.name, [kind]: name, version };
      await recordAudit(this.#tx, { ...auditedBy(caller), action, object, scope, detail });
    }
  }
}

interface Opened {
  item: JobImportItemRow;
  entry: SealedItem['entry'] & { definition: ReturnType<typeof wholeDefinition> };
}

function namesOf({ tags, channels }: SealedItem['entry']): { name: string; kind: 'tag' | 'channel' }[] {
  return [
    ...tags.map((name) => ({ name, kind: 'tag' as const })),
    ...channels.map((name) => ({ name, kind: 'channel' as const })),
  ];
}
