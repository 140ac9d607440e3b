// Adds to the lease of each step what its agent needs of the run's grant.
import { canonicalJson, type JobDefinition } from '@opsconductor/protocol';
import { type LeaseGrant, readGrantedTarget, type SignedGrant } from '@opsconductor/protocol/grants';
import { unwrapDataKey } from '../../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import type { Sql } from '../../store/database/connection.ts';
import { findRunGrants } from '../../store/runs/run-grants.ts';
import { runKeyContext } from '../run-keys.ts';
import { whyUnreadable } from '../why-unreadable.ts';
import { openGrant } from './grant-at-rest.ts';

const maxKeptRuns = 50;

export interface SignedStep {
  stepId: number;
  runId: number;
  stepNumber: number;
  targetId: number;
  definition: JobDefinition;
}

type Granted = Pick<LeaseGrant, 'terms' | 'statement' | 'signature'>;
/** By target id. */
type RunGrant = ReadonlyMap<number, Granted>;

export class LeaseGrants {
  readonly #sql: Sql;
  readonly #masterKey: MasterKey;
  /** Grants never change, so they are kept while their steps are being leased. */
  readonly #runs = new Map<number, RunGrant>();
  readonly #texts = new WeakMap<JobDefinition, string>();

  constructor(deps: { sql: Sql; masterKey: MasterKey }) {
    this.#sql = deps.sql;
    this.#masterKey = deps.masterKey;
  }

  /**
   * Returns the grants by step id, or a sentence for the user if a grant can't be read. A step is left out if its run
   * isn't signed or the grant doesn't name its target; an agent that requires a grant refuses it.
   */
  async of(steps: readonly SignedStep[]): Promise<Map<number, LeaseGrant | string>> {
    const grants = new Map<number, LeaseGrant | string>();
    if (steps.length === 0) return grants;
    const runs = await this.#grantsOf([...new Set(steps.map(({ runId }) => runId))]);
    for (const { stepId, runId, stepNumber, targetId, definition } of steps) {
      const grant = runs.get(runId);
      const granted = typeof grant === 'string' ? grant : grant?.get(targetId);
      if (granted === undefined) continue;
      if (typeof granted === 'string') {
        grants.set(stepId, granted);
        continue;
      }
      grants.set(stepId, { ...granted, definition: this.#textOf(definition), step: stepNumber });
    }
    return grants;
  }

  async #grantsOf(runIds: readonly number[]): Promise<ReadonlyMap<number, RunGrant | string>> {
    const grants = new Map<number, RunGrant | string>();
    for (const id of runIds) {
      const kept = this.#runs.get(id);
      if (kept !== undefined) grants.set(id, kept);
    }
    const missing = runIds.filter((id) => !grants.has(id));
    for (const { id, jobId, dataKey, signedGrant } of await findRunGrants(this.#sql, missing)) {
      if (signedGrant === null) continue;
      const signed = this.#open({ id, jobId, dataKey, signedGrant });
      if (typeof signed === 'string') {
        grants.set(id, signed);
        continue;
      }
      const { terms, targets } = signed;
      const byTarget = targets.flatMap(({ statement, signature }): [number, Granted][] => {
        const target = readGrantedTarget(statement)?.reaches[0]?.target.id;
        return target === undefined ? [] : [[target, { terms, statement, signature }]];
      });
      const grant = new Map(byTarget);
      grants.set(id, grant);
      this.#runs.set(id, grant);
      const [oldest] = this.#runs.keys();
      if (this.#runs.size > maxKeptRuns && oldest !== undefined) this.#runs.delete(oldest);
    }
    return grants;
  }

  #open(run: { id: number; jobId: number; dataKey: string; signedGrant: Buffer }): SignedGrant | string {
    try {
      const key = unwrapDataKey(this.#masterKey, run.dataKey, runKeyContext(run.jobId));
      return openGrant(key, run.id, run.signedGrant);
    } catch (error) {
      return whyUnreadable('The grant of the run', error);
    }
  }

  #textOf(definition: JobDefinition): string {
    const text = this.#texts.get(definition) ?? canonicalJson(definition);
    this.#texts.set(definition, text);
    return text;
  }
}
