// Runs one leased step: checks what it was given, opens the credential, hands it to its step type, and turns whatever
// happens into an outcome. Nothing that a target or a person does ends in an exception here.
import type { Lease, StepOutcome } from '@opsconductor/protocol';
import { SshError } from '../ssh/ssh-error.ts';
import type { BeforeStart, StepContext, StopRequest } from '../steps/step-type.ts';
import type { Attempt } from './attempt.ts';
import { NoSegmentKey, type UsableCredential } from './credential-opener.ts';
import type { KnownStepTypes } from './known-step-types.ts';

const defaultTimeoutS = 300;
const defaultKillGraceS = 10;

/** Thrown by `beforeStart` of the step's context when the step may not begin. */
export class MayNotBegin extends Error {
  override readonly name = 'MayNotBegin';
  readonly why: 'lease_expired' | 'revoked' | 'stopped' | 'no_journal';

  constructor(why: MayNotBegin['why'], options?: ErrorOptions) {
    super(`The step may not begin: ${why}`, options);
    this.why = why;
  }
}

export interface ExecuteStepOptions {
  attempt: Attempt;
  lease: Lease;
  stepTypes: KnownStepTypes;
  installationId: string;
  /** Whether the server knows how a command may end that goes on without its agent. */
  maySurvive: boolean;
  openCredential(lease: Lease): Promise<UsableCredential>;
  /** Told what to mask, before any output. */
  onSecrets(secrets: UsableCredential['secrets']): void;
  /** Records that the attempt begins. Throws `MayNotBegin`. */
  begin(how?: BeforeStart): Promise<void>;
}

export type Execution =
  | { outcome: StepOutcome }
  /** Nothing was begun, and nothing is to be reported as an outcome. */
  | { notBegun: 'lease_expired' | 'revoked' | 'no_key' };

export async function executeStep(options: ExecuteStepOptions): Promise<Execution> {
  const { attempt, lease, stepTypes } = options;
  const stepType = stepTypes.get(lease.stepType);
  if (stepType === undefined) {
    const known = [...stepTypes.keys()].join(', ');
    return invalidConfig(`This agent does not know step type ${lease.stepType}; it knows ${known}.`);
  }
  const { toReattach, survivingSince } = attempt;
  // What is found again was checked when it was begun, and not all of its configuration was kept.
  const problem = toReattach ? undefined : stepType.configProblem(lease.config);
  if (problem !== undefined) return invalidConfig(problem);
  const { timeoutMs: allMs, killGraceMs } = timesOf(lease.config);
  const goneMs = toReattach && survivingSince ? Date.now() - survivingSince.getTime() : 0;
  const timeoutMs = Math.max(0, allMs - Math.max(0, goneMs));
  // Connecting counts: the server gives an attempt this long from its lease.
  const { maxBytes, stops } = outputLimitOf(lease.config);
  if (maxBytes !== undefined || stops) {
    const onReached = stops ? () => attempt.stop({ cause: 'output_limit', killGraceMs }) : undefined;
    attempt.output.limit(maxBytes, onReached);
  }
  const timer = setTimeout(() => attempt.stop({ cause: 'timed_out', killGraceMs }), timeoutMs);
  try {
    const usable = await options.openCredential(lease);
    options.onSecrets(usable.secrets);
    if (attempt.signal.aborted && !toReattach)
      return { outcome: stoppedOutcome(attempt.signal.reason as StopRequest) };
    const context = contextOf(options, usable);
    if (!toReattach) return { outcome: await stepType.execute(lease.config, context) };
    attempt.output.begin(goneMs);
    if (stepType.reattach === undefined) throw new Error(`${lease.stepType} can not reattach`);
    return { outcome: await stepType.reattach(lease.config, context) };
  } catch (error) {
    return executionOfError(error, attempt);
  } finally {
    clearTimeout(timer);
  }
}

/** How long a step may be stopping, in ms: for a cancel from the server. */
export function killGraceOf(lease: Lease): number {
  return timesOf(lease.config).killGraceMs;
}

function contextOf(options: ExecuteStepOptions, usable: UsableCredential): StepContext {
  const { attempt, lease, installationId, maySurvive } = options;
  return {
    marker: attempt.marker(installationId),
    directoryName: attempt.directoryName(installationId),
    target: lease.target,
    credential: usable.credential,
    output: attempt.output,
    maySurvive,
    signal: attempt.signal,
    beforeStart: (how) => options.begin(how),
    ...(attempt.survivingSince === undefined ? {} : { begunAt: attempt.survivingSince }),
    checkAddresses: (addresses) => usable.checkAddresses(addresses),
  };
}

function executionOfError(error: unknown, attempt: Attempt): Execution {
  if (error instanceof NoSegmentKey) return { notBegun: 'no_key' };
  if (error instanceof MayNotBegin) {
    if (error.why === 'stopped') return { outcome: stoppedOutcome(attempt.signal.reason as StopRequest) };
    if (error.why !== 'no_journal') return { notBegun: error.why };
    return failed(
      'internal',
      `The agent could not record the start of the step: ${causeOf(error)}.`,
      "Look at the disk that holds the agent's data directory, and restart the agent.",
    );
  }
  if (error instanceof SshError) return failed(error.reason, error.message, error.advice);
  const began = attempt.state !== 'leased';
  const { outcome } = failed(
    'internal',
    `The agent failed in an unexpected way: ${error instanceof Error ? error.message : String(error)}`,
    "The agent's log has the details.",
  );
  return { outcome: began ? { ...outcome, status: 'unknown' } : outcome };
}

function failed(
  reason: NonNullable<StepOutcome['reason']>,
  message: string,
  advice: string,
): { outcome: StepOutcome } {
  return { outcome: { status: 'failed', reason, message: message.slice(0, 2_000), advice } };
}

function invalidConfig(message: string): { outcome: StepOutcome } {
  return failed(
    'invalid_config',
    message,
    'Correct the job, or update the agent if the job is newer than it.',
  );
}

export function stoppedOutcome(request: StopRequest): StepOutcome {
  const { cause } = request;
  const message = `The step ${cause === 'cancelled' ? 'was cancelled' : 'ran out of time'} before anything was started.`;
  return { status: cause === 'output_limit' ? 'failed' : cause, reason: cause, message };
}

function outputLimitOf(config: unknown): { maxBytes: number | undefined; stops: boolean } {
  const { limits, on_output_limit } = Object(config) as { limits?: unknown; on_output_limit?: unknown };
  const { output_mb } = Object(limits) as { output_mb?: unknown };
  return {
    maxBytes: typeof output_mb === 'number' ? output_mb * 1024 * 1024 : undefined,
    stops: on_output_limit === 'stop',
  };
}

function timesOf(config: unknown): { timeoutMs: number; killGraceMs: number } {
  const { timeout, kill_grace } = Object(config) as { timeout?: unknown; kill_grace?: unknown };
  return {
    timeoutMs: seconds(timeout, defaultTimeoutS) * 1_000,
    killGraceMs: seconds(kill_grace, defaultKillGraceS) * 1_000,
  };
}

function seconds(value: unknown, otherwise: number): number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : otherwise;
}

function causeOf(error: Error): string {
  const { cause } = error;
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  return inner instanceof Error ? inner.message : 'unknown cause';
}
