// Checks and encrypts what an agent says that a step hands on, before it is stored. This is hostile input: only outputs
// that the step's definition names are taken, and the steps of a target run share one limit on their size.
import { type HandedOn, limits, type StepOutcome } from '@opsconductor/protocol';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { loadJobVersion } from '../../jobs/versions/load-job-version.ts';
import type { Sql } from '../../store/database/connection.ts';
import { findStepPlace, type NewStepOutputs } from '../../store/runs/run-values.ts';
import type { RunKeys } from '../run-keys.ts';
import { whyUnreadableHere } from '../why-unreadable.ts';
import { sealOutputs } from './values-at-rest.ts';

export type TakenOutputs = Omit<NewStepOutputs, 'stepId' | 'epoch'>;

export class HandedOnValues {
  readonly #deps: { sql: Sql; masterKey: MasterKey; keys: RunKeys };

  constructor(deps: { sql: Sql; masterKey: MasterKey; keys: RunKeys }) {
    this.#deps = deps;
  }

  /** Returns what is to be stored, or the outcome that the attempt gets instead of the reported one. */
  async take(
    attempt: { stepId: number; epoch: number },
    given: Record<string, HandedOn>,
  ): Promise<{ handsOn: TakenOutputs | undefined } | { outcome: StepOutcome }> {
    try {
      return await this.#take(attempt, given);
    } catch (error) {
      return { outcome: notKept(whyUnreadableHere('Its run or job', error)) };
    }
  }

  async #take(
    attempt: { stepId: number; epoch: number },
    given: Record<string, HandedOn>,
  ): Promise<{ handsOn: TakenOutputs | undefined } | { outcome: StepOutcome }> {
    const { sql, keys } = this.#deps;
    const place = await findStepPlace(sql, attempt.stepId);
    if (place === undefined) return { handsOn: undefined };
    const { definition } = await loadJobVersion(this.#deps, place.jobId, place.jobVersion);
    const declared = definition.steps[place.stepNumber - 1]?.outputs ?? {};
    const outputs: Record<string, string> = {};
    const secrets: NonNullable<NewStepOutputs['secrets']> = {};
    for (const [name, { secret }] of Object.entries(declared)) {
      const { value, id, sealed } = (Object.hasOwn(given, name) ? given[name] : undefined) ?? {};
      if (secret === true) {
        if (id !== undefined && sealed !== undefined) secrets[name] = { id, sealed };
      } else if (value !== undefined) outputs[name] = value;
    }
    const hasOutputs = Object.keys(outputs).length > 0;
    const hasSecrets = Object.keys(secrets).length > 0;
    if (!hasOutputs && !hasSecrets) return { handsOn: undefined };
    const dataKey = await keys.keyOf(sql, place.runId);
    const sealed = hasOutputs ? sealOutputs(dataKey, attempt, outputs) : null;
    const bytes = (sealed?.length ?? 0) + (hasSecrets ? JSON.stringify(secrets).length : 0);
    if (place.outputBytesBefore + bytes > limits.maxStepOutputBytes) return { outcome: tooMuch };
    return { handsOn: { outputs: sealed, secrets: hasSecrets ? secrets : null } };
  }
}

function notKept(why: string): StepOutcome {
  return {
    status: 'failed',
    reason: 'output_missing',
    message: `What the step hands on is not kept. ${why}`,
    advice:
      'What the command did is done. Look into who altered the database, or put back the master key; then run the job again.',
  };
}

const tooMuch: StepOutcome = {
  status: 'failed',
  reason: 'output_missing',
  message: `The steps of a target run hand on ${limits.maxStepOutputBytes / 1024} KiB together at most; with this one it is more.`,
  advice: 'Hand on less: leave long texts in a file on the target.',
};
