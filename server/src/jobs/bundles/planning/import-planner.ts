// Compares the jobs of a file with the existing ones, some at a time, and stores what an import would do.
import { setImmediate } from 'node:timers/promises';
import {
  type ErrorDetail,
  type ExistingTreatment,
  type ImportFinding,
  type ImportProblem,
  limits,
} from '@opsconductor/protocol';
import type { Caller } from '../../../caller.ts';
import type { MasterKey } from '../../../credentials/at-rest/master-key.ts';
import { AppError } from '../../../errors.ts';
import { loadSiteRules, type SiteRules, siteRuleDetail } from '../../../site-rules/site-rules.ts';
import { type Sql, violatedConstraint } from '../../../store/database/connection.ts';
import { templatesNamed } from '../../../store/jobs/job-bundles.ts';
import { insertImportItems, type JobImportItemRow } from '../../../store/jobs/job-imports.ts';
import { encodeDefinition, maxDefinitionBytes } from '../../definition/seal-definition.ts';
import type { ImportSeal } from '../import-seal.ts';
import { type BundleEntry, inJobs, type ReadJob } from '../reading/read-jobs.ts';
import { CopyNames } from './copy-names.ts';
import { decideItem, type ExistingJob, type ItemDecision, wholeDefinition } from './decide-item.ts';
import { baseOf, existingJobs } from './existing-jobs.ts';
import { ImportRights } from './import-rights.ts';

export interface PlanDeps {
  sql: Sql;
  masterKey: MasterKey;
}

export interface PlannedImport {
  problems: ImportProblem[];
  problemCount: number;
  findings: ImportFinding[];
  findingCount: number;
  newCategories: string[];
  categoryIds: number[];
  jobsTotal: number;
}

export function abandoned(): AppError {
  return new AppError('conflict', 'The import was abandoned meanwhile; nothing was changed.');
}

export class ImportPlanner {
  readonly #deps: PlanDeps;
  readonly #target: { importId: string; seal: ImportSeal; existing: ExistingTreatment; note: string };
  readonly #caller: Caller;
  readonly #rights: ImportRights;
  readonly #positions = new Map<string, number>();
  readonly #copies = new Set<string>();
  readonly #copyNames: CopyNames;
  readonly #templates = new Set<string>();
  readonly #madeFrom = new Map<string, ReadJob[]>();
  readonly #categoryIds = new Set<number>();
  readonly #problems: ImportProblem[] = [];
  readonly #findings: ImportFinding[] = [];
  #problemCount = 0;
  #findingCount = 0;
  #jobs = 0;
  #rules: SiteRules | undefined;

  constructor(
    deps: PlanDeps,
    target: { importId: string; seal: ImportSeal; existing: ExistingTreatment; note: string },
    caller: Caller,
  ) {
    this.#deps = deps;
    this.#target = target;
    this.#caller = caller;
    this.#rights = new ImportRights(deps.sql, caller);
    this.#copyNames = new CopyNames(deps.sql, this.#copies);
  }

  get jobsDone(): number {
    return this.#jobs;
  }

  tell(problems: readonly ImportProblem[]): void {
    this.#problemCount += problems.length;
    this.#problems.push(...problems.slice(0, limits.maxImportProblems - this.#problems.length));
  }

  /** Plans some jobs of the file. */
  async take(jobs: readonly ReadJob[]): Promise<void> {
    this.#jobs += jobs.length;
    for (const { problems, findings } of jobs) {
      this.tell(problems);
      this.note(findings);
    }
    const whole = jobs.flatMap((job) => (job.entry === undefined ? [] : [{ job, entry: job.entry }]));
    await this.#rights.prepare(whole.map(({ entry }) => entry.definition));
    for (const { job, entry } of whole) {
      this.tell(this.#problemsOf(job, entry));
      this.note(
        this.#rights.absentIn(entry.definition).map((one) => ({ ...noteOf(job, one), kind: 'note' })),
      );
      await setImmediate();
    }
    const names = whole.map(({ entry }) => entry.definition.name);
    const existing = await existingJobs(this.#deps, [...new Set(names)], this.#caller);
    const rows: JobImportItemRow[] = [];
    for (const { job, entry } of whole) {
      rows.push(await this.#plan(job, entry, existing.get(entry.definition.name)));
      await setImmediate();
    }
    try {
      await insertImportItems(this.#deps.sql, this.#target.importId, rows);
    } catch (error) {
      // It was deleted, by another server perhaps, while its file was being read here.
      if (violatedConstraint(error) === 'job_import_items_import_id_fkey') throw abandoned();
      throw error;
    }
  }

  /** Returns the plan as a whole, after all jobs were taken. */
  async end(): Promise<PlannedImport> {
    await this.#missTemplates();
    for (const id of this.#rights.categoryIds) this.#categoryIds.add(id);
    return {
      problems: this.#problems,
      problemCount: this.#problemCount,
      findings: this.#findings,
      findingCount: this.#findingCount,
      newCategories: this.#rights.newCategories,
      categoryIds: [...this.#categoryIds],
      jobsTotal: this.#jobs,
    };
  }

  note(findings: readonly ImportFinding[]): void {
    this.#findingCount += findings.length;
    this.#findings.push(...findings.slice(0, limits.maxImportFindings - this.#findings.length));
  }

  #problemsOf(job: ReadJob, { definition }: BundleEntry): ImportProblem[] {
    const problems = this.#rights.problemsOf(definition);
    const { length } = encodeDefinition(definition).bytes;
    if (length > maxDefinitionBytes) {
      problems.push({
        path: '',
        message: `The job definition has ${length} bytes; at most ${maxDefinitionBytes} are allowed.`,
      });
    }
    return problems.map((one) => {
      const path = one.path === '' ? 'definition' : `definition.${one.path}`;
      const place = job.places[path] ?? job.place;
      return { ...one, ...place, path: inJobs(job, path), job: job.fileName };
    });
  }

  async #plan(
    job: ReadJob,
    entry: BundleEntry,
    existing: ExistingJob | undefined,
  ): Promise<JobImportItemRow> {
    const { name } = entry.definition;
    const duplicateOf = this.#positions.get(name);
    if (duplicateOf === undefined) this.#positions.set(name, job.position);
    if (entry.definition.template === true) this.#templates.add(name);
    if (entry.madeFrom !== undefined)
      this.#madeFrom.set(entry.madeFrom, [...(this.#madeFrom.get(entry.madeFrom) ?? []), job]);
    if (existing?.isOurs === true) this.#categoryIds.add(existing.row.categoryId);
    const decision = decideItem({ entry, existing, duplicateOf }, this.#target.existing);
    // A job that stays unchanged may break a newer rule, as it did before the import.
    // Which rules a category has is not told to those who may not put jobs there.
    const isHeld = decision.action !== 'unchanged' && !this.#rights.isBarred(entry.definition);
    if (isHeld) await this.#holdAgainstRules(job, entry);
    const isCopy = decision.action === 'create' && (existing !== undefined || duplicateOf !== undefined);
    const copyName = isCopy ? await this.#copyNames.free(name) : undefined;
    if (copyName !== undefined) this.#copies.add(copyName);
    const { definition } = entry;
    return {
      position: job.position,
      ...plannedFields(decision, { name, copyName, existing, isDuplicate: duplicateOf !== undefined }),
      fileName: name,
      category: definition.category ?? 'general',
      isTemplate: definition.template ?? false,
      stepCount: definition.steps.length,
      line: job.place.line,
      choice: null,
      copyName: null,
      madeFrom: entry.madeFrom ?? null,
      findingCount: job.findings.length,
      sealed: this.#target.seal.sealItem(job.position, {
        entry,
        changes: decision.changes,
        conflict: decision.conflict,
        choices: decision.choices,
        findings: job.findings,
        duplicateOf: duplicateOf ?? null,
      }),
    };
  }

  async #holdAgainstRules(job: ReadJob, { definition }: BundleEntry): Promise<void> {
    this.#rules ??= await loadSiteRules(this.#deps.sql);
    const held = { definition: wholeDefinition(definition), note: this.#target.note };
    for (const broken of this.#rules.problems(held)) {
      const { path, message } = siteRuleDetail(broken);
      const told = { path: path === '' ? 'definition' : `definition.${path}`, message };
      const place = job.places[told.path] ?? job.place;
      const about = { ...told, ...place, path: inJobs(job, told.path), job: job.fileName };
      if (broken.severity === 'error') this.tell([about]);
      else this.note([{ ...about, kind: 'note' }]);
    }
  }

  /** Reports jobs that lose their template because it is neither in the file nor here. */
  async #missTemplates(): Promise<void> {
    const named = [...this.#madeFrom.keys()].filter((name) => !this.#templates.has(name));
    if (named.length === 0) return;
    const here = await templatesNamed(this.#deps.sql, named, this.#caller.authority.reach('read'));
    for (const name of named.filter((one) => !here.has(one))) {
      this.note(
        (this.#madeFrom.get(name) ?? []).map((job) => ({
          kind: 'dropped',
          job: job.fileName,
          ...job.place,
          path: inJobs(job, 'made_from'),
          message: `There is no template ${name}, neither here nor in the file: the job is imported without a template.`,
        })),
      );
    }
  }
}

/** Returns a finding about a place in a definition, with that place's position in the file. */
function noteOf(job: ReadJob, { path, message }: ErrorDetail): Omit<ImportFinding, 'kind'> {
  const told = `definition.${path}`;
  return { message, ...(job.places[told] ?? job.place), path: inJobs(job, told), job: job.fileName };
}

/** Returns the fields of an item that follow from a decision. */
export function plannedFields(
  decision: ItemDecision,
  {
    name,
    copyName,
    existing,
    isDuplicate,
  }: { name: string; copyName: string | undefined; existing: ExistingJob | undefined; isDuplicate: boolean },
): Pick<JobImportItemRow, 'action' | 'name' | 'jobId' | 'base'> {
  const compared =
    existing?.isOurs === true && !isDuplicate && copyName === undefined ? existing.row : undefined;
  return {
    action: decision.action,
    name: copyName ?? name,
    jobId: compared?.id ?? null,
    base: compared === undefined ? null : baseOf(compared),
  };
}
