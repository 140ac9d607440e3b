// Collects the values that agents render steps with: those of the run and the target, and what earlier steps have
// handed on. Secrets are passed on sealed.
import type { JobDefinition, LeaseRendering, LeaseSecret, LeaseTarget } from '@opsconductor/protocol';
import type { SealedEnvelope } from '@opsconductor/protocol/sealing';
import { unwrapDataKey } from '../../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import type { Sql } from '../../store/database/connection.ts';
import {
  findRenderedTargets,
  findRunSecrets,
  findRunValues,
  findStepOutputs,
  type RenderedTargetRow,
  type RunValuesRow,
  type StepOutputsRow,
} from '../../store/runs/run-values.ts';
import { runKeyContext } from '../run-keys.ts';
import { whyUnreadable } from '../why-unreadable.ts';
import { type StepScope, stepScopeOf } from './step-scope.ts';
import { openOutputs, openParameters } from './values-at-rest.ts';

const maxKeptRuns = 200;
const maxKeptBytes = 16 * 1024 * 1024;

export interface StepToRender {
  stepId: number;
  runId: number;
  stepNumber: number;
  definition: JobDefinition;
  target: Pick<LeaseTarget, 'name' | 'host' | 'port'>;
}

interface KeptRun {
  row: RunValuesRow;
  dataKey: Buffer;
  values: Record<string, unknown>;
  /** By segment id. */
  secrets: Map<number, LeaseSecret[]>;
  bytes: number;
}

export class LeaseRenderings {
  readonly #sql: Sql;
  readonly #masterKey: MasterKey;
  /** The values of a run never change, so they are kept while its steps are being leased. */
  readonly #runs = new Map<number, KeptRun>();
  #keptBytes = 0;

  constructor(deps: { sql: Sql; masterKey: MasterKey }) {
    this.#sql = deps.sql;
    this.#masterKey = deps.masterKey;
  }

  /**
   * Returns the renderings by step id, or a sentence for the user if something can't be read. Left out are steps that
   * need no rendering and steps whose target has been deleted.
   */
  async of(steps: readonly StepToRender[]): Promise<Map<number, LeaseRendering | string>> {
    const renderings = new Map<number, LeaseRendering | string>();
    const scoped = steps.flatMap((step) => {
      const scope = stepScopeOf(step.definition, step.stepNumber);
      return scope === undefined ? [] : [{ step, scope }];
    });
    if (scoped.length === 0) return renderings;
    const stepIds = scoped.map(({ step }) => step.stepId);
    const [targets, runs] = await Promise.all([
      findRenderedTargets(this.#sql, stepIds),
      this.#runsOf([...new Set(scoped.map(({ step }) => step.runId))]),
    ]);
    const targetOf = new Map(targets.map((row) => [row.stepId, row]));
    const outputs = await this.#outputsOf(scoped, targetOf);
    for (const { step, scope } of scoped) {
      const run = runs.get(step.runId);
      const target = targetOf.get(step.stepId);
      if (run === undefined || target === undefined) continue;
      if (typeof run === 'string') {
        renderings.set(step.stepId, run);
        continue;
      }
      const secrets = await this.#secretsOf(run, target.segmentId);
      const before = outputs.get(target.targetRunId) ?? [];
      renderings.set(step.stepId, renderingOf({ step, scope, run, target, secrets, before }));
    }
    return renderings;
  }

  async #outputsOf(
    scoped: readonly { step: StepToRender; scope: StepScope }[],
    targetOf: ReadonlyMap<number, RenderedTargetRow>,
  ): Promise<Map<number, StepOutputsRow[]>> {
    const asking = scoped.filter(({ scope }) => scope.stepsBefore.size > 0);
    const targetRunIds = asking.flatMap(({ step }) => targetOf.get(step.stepId)?.targetRunId ?? []);
    const byTargetRun = new Map<number, StepOutputsRow[]>();
    for (const row of await findStepOutputs(this.#sql, targetRunIds)) {
      byTargetRun.set(row.targetRunId, [...(byTargetRun.get(row.targetRunId) ?? []), row]);
    }
    return byTargetRun;
  }

  async #runsOf(runIds: readonly number[]): Promise<ReadonlyMap<number, KeptRun | string>> {
    const runs = new Map<number, KeptRun | string>();
    for (const id of runIds) {
      const kept = this.#runs.get(id);
      if (kept !== undefined) runs.set(id, kept);
    }
    const missing = runIds.filter((id) => !runs.has(id));
    for (const row of await findRunValues(this.#sql, missing)) {
      const run = this.#open(row);
      runs.set(row.id, run);
      if (typeof run !== 'string') this.#keep(run);
    }
    return runs;
  }

  #open(row: RunValuesRow): KeptRun | string {
    try {
      const dataKey = unwrapDataKey(this.#masterKey, row.dataKey, runKeyContext(row.jobId));
      const values = openParameters(dataKey, row.id, row.parameters);
      return { row, dataKey, values, secrets: new Map(), bytes: row.parameters?.length ?? 0 };
    } catch (error) {
      return whyUnreadable('What the run was given', error);
    }
  }

  #keep(run: KeptRun): void {
    this.#runs.set(run.row.id, run);
    this.#keptBytes += run.bytes;
    for (const [id, oldest] of this.#runs) {
      if (this.#runs.size <= maxKeptRuns && this.#keptBytes <= maxKeptBytes) return;
      this.#runs.delete(id);
      this.#keptBytes -= oldest.bytes;
    }
  }

  async #secretsOf(run: KeptRun, segmentId: number): Promise<LeaseSecret[]> {
    const { secretsId: id } = run.row;
    if (id === null) return [];
    const kept = run.secrets.get(segmentId);
    if (kept !== undefined) return kept;
    const rows = await findRunSecrets(this.#sql, run.row.id, segmentId);
    const secrets = rows.map(({ name, sealed }) => ({ name, id, sealed }));
    run.secrets.set(segmentId, secrets);
    if (this.#runs.get(run.row.id) === run) {
      const bytes = secrets.reduce((sum, secret) => sum + secret.sealed.ciphertext.length, 0);
      run.bytes += bytes;
      this.#keptBytes += bytes;
    }
    return secrets;
  }
}

interface Parts {
  step: StepToRender;
  scope: StepScope;
  run: KeptRun;
  target: RenderedTargetRow;
  secrets: readonly LeaseSecret[];
  before: readonly StepOutputsRow[];
}

function renderingOf({ step, scope, run, target, secrets, before }: Parts): LeaseRendering | string {
  const { row, values, dataKey } = run;
  const steps: LeaseRendering['values']['steps'] = {};
  const handedOn: LeaseSecret[] = [];
  for (const outputs of before) {
    const called = scope.stepsBefore.get(outputs.stepNumber);
    if (called === undefined) continue;
    try {
      steps[called] = { outputs: openOutputs(dataKey, outputs, outputs.outputs) };
    } catch (error) {
      return whyUnreadable(`What step ${outputs.stepNumber} handed on`, error);
    }
    for (const [name, { id, sealed }] of Object.entries(outputs.secrets ?? {}))
      handedOn.push({ step: called, name, id, sealed: sealed as SealedEnvelope });
  }
  return {
    values: {
      parameters: only(values, scope.scope.parameters),
      target: {
        name: step.target.name,
        host: step.target.host,
        port: step.target.port,
        os: target.os,
        segment: target.segmentName,
        labels: target.labels,
      },
      run: {
        id: step.runId,
        created_at: row.createdAt.toISOString(),
        created_by: row.createdBy ?? 'deleted user',
      },
      job: { id: row.jobId, name: step.definition.name, version: row.jobVersion },
      steps,
    },
    secrets: [...secrets, ...handedOn],
    scope: scope.scope,
    ...(scope.when === undefined ? {} : { when: scope.when }),
    ...(scope.step === undefined ? {} : { step: scope.step }),
    ...(scope.outputs === undefined ? {} : { outputs: scope.outputs }),
  };
}

function only(values: Record<string, unknown>, declared: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([name]) => Object.hasOwn(declared, name)));
}
