// What is known about the shown attempt of a step besides its output. Some of it must be asked for.
import type { Attempt, JobVersion, RunDetail, Step } from '@opsconductor/protocol';
import { isStepEnded } from '@opsconductor/protocol';
import { fetchVersion } from '../../../api/jobs/job-versions.ts';
import { fetchAttempts, fetchRunSteps } from '../../../api/runs.ts';
import { Query } from '../../../state/query.svelte.ts';
import type { Host } from '../../../state/runs/run-hosts.svelte.ts';
import { attemptsOf, numberOf } from '../attempts/attempt-numbers.ts';
import { wantsAttempts } from '../attempts/attempt-words.ts';

/** The properties are read when they are needed, so getters make them reactive one by one. */
export interface ShownStep {
  readonly run: Pick<RunDetail, 'id' | 'jobId' | 'jobVersion'>;
  readonly host: Pick<Host, 'targetRun'>;
  readonly step: Step;
  /** Attempt that the URL selects, if any. */
  readonly attempt: number | undefined;
  /** Attempt whose lines are shown: the previous one until the newest one writes. */
  readonly attemptOfLines: number | undefined;
}

/** A clean-up or a late result arrives without the step changing. */
const attemptsAgainMs = 20_000;

export class StepFacts {
  readonly #of: ShownStep;

  constructor(of: ShownStep) {
    this.#of = of;
  }

  // A run and its hosts are new objects with each event; what asks for something depends on these only.
  readonly #runId = $derived.by(() => this.#of.run.id);
  readonly #hostId = $derived.by(() => this.#of.host.targetRun.id);
  readonly #versionId = $derived.by(() => `${this.#of.run.jobId} ${this.#of.run.jobVersion}`);

  readonly ended = $derived.by(() => isStepEnded(this.#of.step.status));
  /** An earlier attempt is shown; what is said about the step is about its newest one. */
  readonly isPast = $derived.by(
    () => this.#of.attempt !== undefined && this.#of.attempt !== this.#of.step.attempt,
  );
  /** More output may come. */
  readonly open = $derived.by(() => !this.ended && !this.isPast && this.#of.step.outputState === 'open');

  // Read again whenever the step changes, as attempts change with it. Only what an agent adds later comes without.
  readonly #attemptsTurn = $derived.by(() => {
    const { step } = this.#of;
    return wantsAttempts(step) ? `${step.id} ${step.attempt} ${step.status} ${step.advice ?? ''}` : '';
  });
  readonly attempts = $derived.by(() => {
    const [stepId] = this.#attemptsTurn.split(' ').map(Number);
    const runId = this.#runId;
    if (this.#attemptsTurn === '' || stepId === undefined) return undefined;
    return new Query<Attempt[]>((signal) => fetchAttempts(runId, stepId, signal));
  });
  readonly shownAttempt = $derived.by(() => {
    const shown = this.#of.attempt ?? this.#of.step.attempt;
    return this.attempts?.data?.find(({ attempt }) => attempt === shown);
  });

  /** Whether all that stands above the output is known, as far as it must be asked for, or could not be read. */
  readonly isTold = $derived.by(() =>
    [this.attempts, this.#endedStep, this.#version].every(
      (asked) => asked === undefined || asked.data !== undefined || asked.error !== undefined,
    ),
  );

  // Live updates leave out what a step hands on, so it is read when the step has ended, and again if the step ends once
  // more.
  readonly #endedTurn = $derived.by(() => {
    const { step } = this.#of;
    return this.ended && step.handedOn === undefined ? `${step.id} ${step.attempt} ${step.status}` : '';
  });
  readonly #endedStep = $derived.by(() => {
    const [stepId] = this.#endedTurn.split(' ').map(Number);
    const [runId, targetRunId] = [this.#runId, this.#hostId];
    if (this.#endedTurn === '') return undefined;
    return new Query<Step | null>(async (signal) => {
      const { steps } = await fetchRunSteps(runId, { targetRunId, limit: 1 }, signal);
      return steps.find(({ id }) => id === stepId) ?? null;
    });
  });
  readonly handedOn = $derived.by(() => this.#of.step.handedOn ?? this.#endedStep?.data?.handedOn ?? []);

  // The condition because of which a step was skipped or failed is in the job's version; users who may not read that
  // don't see it.
  readonly #hasCondition = $derived.by(
    () => this.#of.step.reason === 'condition_false' || this.#of.step.reason === 'condition_error',
  );
  readonly #version = $derived.by(() => {
    const [jobId, version] = this.#versionId.split(' ').map(Number);
    if (!this.#hasCondition || jobId === undefined || version === undefined) return undefined;
    return new Query<JobVersion>((signal) => fetchVersion(jobId, version, signal));
  });
  readonly condition = $derived.by(() =>
    this.#hasCondition
      ? this.#version?.data?.definition.steps[this.#of.step.stepNumber - 1]?.when
      : undefined,
  );

  /** It is unknown how it ended, and the agent hasn't told since, so its last output may be missing. */
  readonly isCutOff = $derived.by(() => {
    const { shownAttempt } = this;
    if (shownAttempt === undefined) return !this.isPast && ['unknown', 'held'].includes(this.#of.step.status);
    return (
      shownAttempt.status === 'unknown' &&
      (shownAttempt.late === null || shownAttempt.late.status === 'unknown')
    );
  });
  /** Number of the attempt whose lines are shown, from 1 on. */
  readonly numberOfLines = $derived.by(() => {
    const { step, attemptOfLines } = this.#of;
    const shown = attemptOfLines ?? step.attempt;
    const found = this.attempts?.data?.find(({ attempt }) => attempt === shown);
    if (found !== undefined) return numberOf(found);
    return shown === step.attempt ? attemptsOf(step) : shown;
  });
  /** Start of the attempt whose lines are shown. */
  readonly startedAt = $derived.by(() => {
    const { step, attempt, attemptOfLines } = this.#of;
    const shown = attempt ?? attemptOfLines ?? step.attempt;
    if (shown === step.attempt) return step.startedAt;
    return this.attempts?.data?.find((one) => one.attempt === shown)?.startedAt;
  });

  /** Asks for what is needed, and again when that changes; for the initialization of a component. */
  follow(): void {
    $effect(() => this.attempts?.start(attemptsAgainMs));
    $effect(() => this.#endedStep?.start());
    $effect(() => this.#version?.start());
  }
}
