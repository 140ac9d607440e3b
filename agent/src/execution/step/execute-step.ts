// Runs one leased step: checks what it was given, opens the credential, passes the step to its step type, and turns
// whatever happens into an outcome. Nothing that a target or a person does leads to an exception here.

import {
  type BecomeConfig,
  defaultKillGraceS,
  defaultTimeoutS,
  type HandedOn,
  type Lease,
  type StepOutcome,
  type TransferProgress,
  type TransferReport,
} from '@opsconductor/protocol';
import type { AskServer } from '../../contents/content-link.ts';
import { cutText } from '../../cut-text.ts';
import type { GrantGuard } from '../../grants/grant-guard.ts';
import { Masking } from '../../masking/masking.ts';
import { PatternSet } from '../../masking/pattern-set.ts';
import { handOn, outputsMissing } from '../../outputs/hand-on.ts';
import { HeldStreams } from '../../outputs/held-streams.ts';
import type { PolicyGuard } from '../../policy/policy-guard.ts';
import { becomeOf } from '../../ssh/become/become.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import {
  type BeforeStart,
  type OpenedCredential,
  type OutputSink,
  type StepContext,
  type StopRequest,
  TakenOverElsewhere,
} from '../../steps/step-type.ts';
import type { Attempt } from '../attempts/attempt.ts';
import { NoSegmentKey, type UsableCredential } from '../secrets/credential-opener.ts';
import { type OpenedSecret, type RunSecrets, UnopenableSecret } from '../secrets/run-secrets.ts';
import { fillInStep } from './fill-in-step.ts';
import type { KnownStepType, KnownStepTypes } from './known-step-types.ts';
import { hasOutputFile, hasSecretOutputs, heldStreamsOf } from './step-outputs.ts';
import { TransferNotes } from './transfer-notes.ts';

/** Thrown by `beforeStart` of the step's context if the step may not begin. */
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
  /** Whether the server knows the outcomes of a command that outlives its agent. */
  maySurvive: boolean;
  /** Throws an `SshError` if the owner of this machine does not allow the step. */
  policy: Pick<PolicyGuard, 'checkStep' | 'checkHours' | 'checkScript' | 'checkConfig' | 'detectsSecrets'>;
  /** Throws an `SshError` if the owner requires signed runs and this step is not as it was signed. */
  grants: Pick<GrantGuard, 'check'>;
  openCredential(lease: Lease): Promise<UsableCredential>;
  secrets: Pick<RunSecrets, 'open' | 'seal' | 'canSeal'>;
  /** Called with what to mask, before any output. */
  onSecrets(masking: Masking): void;
  /** Called with the progress of a transfer. */
  onProgress(progress: TransferProgress): void;
  /**
   * Called when the target stops answering, with when it was last heard and when the step's time is up; see
   * `StepContext`.
   */
  onTargetSilence(silence: { heardAtMs: number; endsAtMs: number } | undefined): void;
  /** Asks the server for the attempt's files and artifacts. */
  askServer: AskServer;
  /** See `StepContext`. */
  followedBy(most: number): readonly string[];
  /** Called with where an error came from that nobody foresaw, masked. The outcome refers people to the log. */
  onUnexpected(trace: string): void;
  /** Records that the attempt begins, under the checked lease. Throws `MayNotBegin`. */
  begin(checked: Lease, how?: BeforeStart): Promise<void>;
}

export type Execution =
  | {
      outcome: StepOutcome;
      handsOn?: Record<string, HandedOn>;
      transfers?: TransferReport;
      /** Has the count of what was masked for its form, once the output is closed. */
      masking?: Masking;
    }
  /** Nothing was begun, and there is no outcome to report. */
  | { notBegun: 'lease_expired' | 'revoked' | 'no_key' | 'no_journal' }
  /** The target says that another agent has taken the command over. */
  | { taken: true };

/**
 * Executes a step. Resolves with how it ended, masked, whatever happens: an unexpected error fails the step, and
 * `onUnexpected` gets its trace.
 */
export async function executeStep(given: ExecuteStepOptions): Promise<Execution> {
  const execution = await execute(given);
  if (!('outcome' in execution)) return execution;
  return { ...execution, outcome: tellTimeout(execution.outcome, given) };
}

/** Names the step's timeout if that has ended the step: its run may have a timeout of its own. */
function tellTimeout(
  outcome: StepOutcome,
  { attempt, lease }: Pick<ExecuteStepOptions, 'attempt' | 'lease'>,
): StepOutcome {
  const request = attempt.signal.reason as StopRequest | undefined;
  const isUnconfirmed = outcome.reason === 'cancel_unconfirmed' && request?.cause === 'timed_out';
  if (outcome.status !== 'timed_out' && !isUnconfirmed) return outcome;
  const { timeoutMs, isDefault } = timesOf(lease);
  const told = `The step’s timeout is ${timeoutMs / 1_000} s${isDefault ? ', as it sets none' : ''}.`;
  const { message } = outcome;
  const room = 2_000 - told.length - 1;
  return { ...outcome, message: message === undefined ? told : `${cutText(message, room)} ${told}` };
}

async function execute(given: ExecuteStepOptions): Promise<Execution> {
  const { attempt, stepTypes } = given;
  const stepType = stepTypes.get(given.lease.stepType);
  if (stepType === undefined) {
    const known = [...stepTypes.keys()].join(', ');
    return invalidConfig(`This agent does not know step type ${given.lease.stepType}; it knows ${known}.`);
  }
  const { toReattach, survivingSinceMs } = attempt;
  const { timeoutMs: allMs, killGraceMs } = timesOf(given.lease);
  const goneMs =
    toReattach && survivingSinceMs !== undefined ? Math.round(performance.now() - survivingSinceMs) : 0;
  const timeoutMs = Math.max(0, allMs - Math.max(0, goneMs));
  // The timeout includes connecting: the server counts it from the lease.
  const { maxBytes, stops } = outputLimitOf(given.lease.config);
  if (maxBytes !== undefined || stops) {
    const onReached = stops ? () => attempt.stop({ cause: 'output_limit', killGraceMs }) : undefined;
    attempt.output.limit(maxBytes, onReached);
  }
  const timer = setTimeout(() => attempt.stop({ cause: 'timed_out', killGraceMs }), timeoutMs);
  const endsAtMs = performance.now() + timeoutMs;
  const targetSilence = (heardAtMs: number | undefined) =>
    given.onTargetSilence(heardAtMs === undefined ? undefined : { heardAtMs, endsAtMs });
  let masked = maskingOf(given, new PatternSet([]));
  try {
    if (!toReattach) given.policy.checkStep(given.lease);
    const options = toReattach ? given : { ...given, lease: await given.grants.check(given.lease) };
    const { lease } = options;
    const usable = await options.openCredential(lease);
    const opened = await openSecrets(options);
    const patterns = await usable.secrets.sharedWith(opened.flatMap((one) => one.patterns));
    masked = maskingOf(options, patterns);
    options.onSecrets(masked);
    if (attempt.signal.aborted && !toReattach)
      return { outcome: stoppedOutcome(attempt.signal.reason as StopRequest) };
    // A command that is found again was filled in and checked when it began, and not all of its configuration was kept.
    const filled = toReattach ? { config: lease.config, bindings: [] } : fillInStep(lease, opened);
    if ('outcome' in filled) return maskExecution(filled, masked);
    const problem = toReattach ? undefined : stepType.configProblem(filled.config);
    if (problem !== undefined) return maskExecution(invalidConfig(problem), masked);
    if (!toReattach) {
      options.policy.checkScript(filled.config, lease);
      options.policy.checkConfig(filled.config, lease);
    }
    const held = heldStreamsOf(lease);
    const sink = held.size === 0 ? attempt.output : new HeldStreams(attempt.output, held);
    const notes = new TransferNotes(masked, (progress) => options.onProgress(progress));
    const context = {
      ...contextOf(options, usable, sink),
      transfers: notes,
      targetSilence,
      bindings: filled.bindings,
    };
    const outcome = await runStep(stepType, { config: filled.config, context, attempt, goneMs });
    const execution = await withOutputs({ ...options, stepType, context, masked, outcome });
    return { ...maskExecution(execution, masked), ...notes.told };
  } catch (error) {
    const execution = executionOfError(error, attempt);
    if (execution === undefined) given.onUnexpected(masked.text(traceOf(error)));
    return maskExecution(execution ?? failedUnexpectedly(error, attempt), masked);
  } finally {
    clearTimeout(timer);
  }
}

async function openSecrets({ lease, secrets }: ExecuteStepOptions): Promise<OpenedSecret[]> {
  // Checked before the command runs: afterwards it would be too late to find that its outputs can't be sealed.
  if (hasSecretOutputs(lease) && !secrets.canSeal)
    throw new NoSegmentKey('The newest segment key is not here');
  return lease.rendering === undefined ? [] : secrets.open(lease.rendering);
}

async function runStep(
  stepType: KnownStepType,
  {
    config,
    context,
    attempt,
    goneMs,
  }: { config: unknown; context: StepContext; attempt: Attempt; goneMs: number },
): Promise<StepOutcome> {
  if (!attempt.toReattach) return stepType.execute(config, context);
  attempt.output.begin(goneMs);
  if (stepType.reattach === undefined) throw new Error('The step type can not reattach');
  return stepType.reattach(config, context);
}

/** Adds what a succeeded step hands on, or turns its outcome into a failure if an output is missing. */
async function withOutputs({
  attempt,
  lease,
  secrets,
  stepType,
  context,
  masked,
  outcome,
}: ExecuteStepOptions & {
  stepType: KnownStepType;
  context: StepContext;
  masked: Masking;
  outcome: StepOutcome;
}): Promise<Execution> {
  const outputs = lease.rendering?.outputs;
  if (outputs === undefined || outcome.status !== 'succeeded') return { outcome };
  const { output } = attempt;
  const held = context.output instanceof HeldStreams ? context.output : undefined;
  // The command has ended, so nothing that fails from here on may make it run again.
  try {
    await output.close();
    const handing = await handOn({
      outputs,
      secrets: masked,
      endOf: async (stream, maxBytes) =>
        held?.endOf(stream, maxBytes) ?? (await output.endOf(stream, maxBytes)),
      file: async () =>
        (await stepType.readOutputFile?.(context)) ?? {
          problem: 'steps of this type have no file for outputs',
        },
      seal: (name, value) => secrets.seal(lease, name, value),
    });
    if ('missing' in handing) return { outcome: outputsMissing(outcome, handing.missing) };
    return { outcome, handsOn: handing.handsOn };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { outcome: outputsMissing(outcome, [`they could not be looked for: ${why}`]) };
  }
}

/** Also masks what has the form of a secret, if the job, the installation or this machine's owner asks for it. */
function maskingOf({ lease, policy }: Pick<ExecuteStepOptions, 'lease' | 'policy'>, patterns: PatternSet) {
  return Masking.of(patterns, policy.detectsSecrets || lease.detectSecrets === true);
}

function maskExecution(execution: Execution, secrets: Masking): Execution {
  if (!('outcome' in execution)) return execution;
  return { ...execution, outcome: maskOutcome(execution.outcome, secrets), masking: secrets };
}

/** A path or a name in the configuration may be secret, and outcomes are stored unencrypted. */
function maskOutcome(outcome: StepOutcome, secrets: Masking): StepOutcome {
  const { message, advice, survivors } = outcome;
  return {
    ...outcome,
    ...(message === undefined ? {} : { message: secrets.text(message).slice(0, 2_000) }),
    ...(advice === undefined ? {} : { advice: secrets.text(advice).slice(0, 2_000) }),
    ...(survivors === undefined
      ? {}
      : {
          survivors: survivors.map(({ pid, command }) => ({
            pid,
            command: secrets.text(command).slice(0, 512),
          })),
        }),
  };
}

/** How long the step may take to stop after a cancel from the server, in ms. */
export function killGraceOf(lease: Lease): number {
  return timesOf(lease).killGraceMs;
}

function contextOf(
  options: ExecuteStepOptions,
  usable: UsableCredential,
  output: OutputSink,
): Omit<StepContext, 'transfers'> {
  const { attempt, lease, installationId } = options;
  // Held streams exist in this process only, so a command with any must not outlive it.
  const maySurvive = options.maySurvive && output === attempt.output;
  return {
    marker: attempt.marker(installationId),
    directoryName: attempt.directoryName(installationId),
    target: usable.target,
    credential: usable.credential,
    ...becomeIn(lease, usable.credential),
    ...(usable.runAs === undefined ? {} : { runAs: usable.runAs }),
    output,
    outputFile: hasOutputFile(lease),
    maySurvive,
    askServer: options.askServer,
    signal: attempt.signal,
    followedBy: options.followedBy,
    beforeStart: async (how) => {
      if (attempt.state === 'leased') options.policy.checkHours(options.lease);
      await options.begin(options.lease, how);
    },
    ...(attempt.survivingSinceMs === undefined ? {} : { begunAtMs: attempt.survivingSinceMs }),
    ...(attempt.collector === undefined ? {} : { collector: attempt.collector }),
    checkAddresses: (addresses) => usable.checkAddresses(addresses),
  };
}

/** The user that the step's command runs as. The configuration was validated before. */
export function becomeIn(
  { config }: Pick<Lease, 'config'>,
  credential: OpenedCredential,
): Pick<StepContext, 'become'> {
  const become = becomeOf((Object(config) as { become?: BecomeConfig }).become, credential);
  return become === undefined ? {} : { become };
}

/** Returns undefined for an error that nobody foresaw. */
function executionOfError(error: unknown, attempt: Attempt): Execution | undefined {
  if (error instanceof TakenOverElsewhere) return { taken: true };
  if (error instanceof NoSegmentKey) return { notBegun: 'no_key' };
  if (error instanceof MayNotBegin) {
    if (error.why === 'stopped') return { outcome: stoppedOutcome(attempt.signal.reason as StopRequest) };
    if (error.why === 'revoked' || attempt.state === 'leased') return { notBegun: error.why };
    // An earlier start was recorded, but not this one. Nothing ran, and the step can't be handed back any more.
    if (error.why === 'lease_expired') {
      return failed(
        'unreachable',
        'The step was not begun: its lease ran out while another shell was being opened for it, in place of one that was gone.',
        'Nothing ran, so the step can be run again. Look at the network between agent and server.',
      );
    }
    return failed(
      'internal',
      `The agent could not record the start of the step: ${causeOf(error)}.`,
      "Make room on the disk that holds the agent's data directory, or make it writable; the agent then continues by itself.",
    );
  }
  if (error instanceof UnopenableSecret) {
    return failed(
      'value_refused',
      `The step was not begun. ${error.message}`,
      'Start a new run, so that its secrets are sealed again to this segment.',
    );
  }
  if (error instanceof SshError) return failed(error.reason, error.message, error.advice);
  return undefined;
}

function failedUnexpectedly(error: unknown, attempt: Attempt): Execution {
  const began = attempt.state !== 'leased';
  const { outcome } = failed(
    'internal',
    `The agent failed in an unexpected way: ${error instanceof Error ? error.message : String(error)}`,
    "The agent's log has the details.",
  );
  return { outcome: began ? { ...outcome, status: 'unknown' } : outcome };
}

function traceOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function failed(
  reason: NonNullable<StepOutcome['reason']>,
  message: string,
  advice: string,
): { outcome: StepOutcome } {
  return { outcome: { status: 'failed', reason, message: cutText(message, 2_000), advice } };
}

function invalidConfig(message: string): { outcome: StepOutcome } {
  return failed(
    'invalid_config',
    message,
    'Correct the job, or update the agent if the job is newer than it.',
  );
}

/** Returns the outcome of a step that was stopped before anything of it was started. */
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

function timesOf({ stepType, config }: Pick<Lease, 'stepType' | 'config'>): {
  timeoutMs: number;
  /** Whether the configuration names no timeout. */
  isDefault: boolean;
  killGraceMs: number;
} {
  const { timeout, kill_grace } = Object(config) as { timeout?: unknown; kill_grace?: unknown };
  return {
    timeoutMs: seconds(timeout, defaultTimeoutS(stepType)) * 1_000,
    isDefault: timeout === undefined,
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
