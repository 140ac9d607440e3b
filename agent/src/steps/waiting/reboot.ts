// Step type reboot: asks the target to restart, and waits until it is back with another boot id.

import { defaultRebootCommand, type RebootConfig, type StepOutcome } from '@opsconductor/protocol';
import { cutText } from '../../cut-text.ts';
import { isRefusedByJumpHost, isRefusedLogin, pauseAfterRefusal } from '../../ssh/login/refused-login.ts';
import type { SshPool } from '../../ssh/pool/pool.ts';
import { requestFor } from '../../ssh/pool/request-for.ts';
import type { ScriptTarget } from '../../ssh/run-script.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import { pauseAtMost } from '../../timing/pause.ts';
import { failedBeforeStart, stoppedBeforeStart } from '../before-start-outcomes.ts';
import { sshExec } from '../ssh-exec/ssh-exec.ts';
import type { StepContext, StepType, StopRequest } from '../step-type.ts';
import { hasRestarted, readBootTime } from './boot-time.ts';

export interface RebootOptions {
  /** Time between two checks whether the target is back, in ms; default 3 s. */
  pollMs?: number;
  /** Time for a check while the host answers, in ms; default 10 s. It tells soon that the host is away. */
  lookMs?: number;
  /** Time for any other check, in ms; default 45 s. A login may take long, most of all while the host comes up. */
  patientLookMs?: number;
  /** Pauses after the first login that the host refuses, the second, and so on, in ms; the last one is repeated. */
  refusedPausesMs?: readonly number[];
}

/** The configuration, and what else `reattach` needs. */
type Asked = RebootConfig & { bootIdBefore?: string };

/** Errors that waiting can't cure: another machine answers, or this agent may not connect. */
const hopeless = new Set([
  'host_key_mismatch',
  'host_key_unknown',
  'credential_bounds',
  'credential_unusable',
  'policy_refused',
]);
/** 128 + TERM and KILL: the restart itself may end the command that asked for it. */
const endedByRestart = new Set([137, 143]);

/** Creates the step type on a pool of connections that the caller owns. */
export function reboot(pool: SshPool, options: RebootOptions = {}): StepType<RebootConfig> {
  const exec = sshExec(pool);
  return {
    type: 'reboot',
    execute: async (config, context) => {
      let before: string | undefined;
      try {
        before = (await readBootTime(lookAt(pool, context, patientLookMs(options)))).id;
      } catch (error) {
        if (context.signal.aborted) return stoppedBeforeStart(context.signal.reason as StopRequest);
        if (error instanceof SshError) return failedBeforeStart(error);
        throw error;
      }
      if (context.signal.aborted) return stoppedBeforeStart(context.signal.reason as StopRequest);
      if (before === undefined) return tellsNothing(context);
      context.output.kept?.follow();
      say(context, `The host was last started as boot ${before}.`);
      const survivesWith: Asked = { ...config, bootIdBefore: before };
      let askedMs = performance.now();
      const asked = await exec.execute(
        { command: config.command ?? defaultRebootCommand, survive_agent_restart: false },
        {
          ...context,
          beforeStart: async () => {
            await context.beforeStart(context.maySurvive ? { survivesWith } : undefined);
            askedMs = performance.now();
          },
        },
      );
      // Without a connection or without a start time, the command was never given the word, so nothing was asked.
      if (asked.ssh === undefined || asked.executionTimeMs === undefined) return asked;
      if (!mayHaveRestarted(asked, context)) return asked;
      say(context, 'It was asked to restart.');
      const outcome = await untilBack({ pool, options, context, before, askedMs, wasAsked: true });
      return { ...outcome, ssh: asked.ssh };
    },
    reattach: (config: Asked, context) => {
      context.output.kept?.follow();
      const askedMs = context.begunAtMs ?? performance.now();
      // The process that began the step may have ended before it gave the command the word, or right after it.
      return untilBack({ pool, options, context, before: config.bootIdBefore, askedMs, wasAsked: false });
    },
  };
}

const notKnown = '(its agent ended meanwhile, so this is not known)';

interface Waiting {
  pool: SshPool;
  options: RebootOptions;
  context: StepContext;
  before: string | undefined;
  /** When the target was asked to restart, on the clock of `performance.now()`. */
  askedMs: number;
  /** False if it is not known whether the command was run, and to its end. */
  wasAsked: boolean;
}

async function untilBack(waiting: Waiting): Promise<StepOutcome> {
  const { pool, options, context, before, askedMs } = waiting;
  const { signal } = context;
  let last: SshError | undefined;
  let wasAway = false;
  let refusals = 0;
  for (;;) {
    if (signal.aborted) return { ...stopped(waiting, last, wasAway), executionTimeMs: msSince(askedMs) };
    try {
      const lookMs = last === undefined ? (options.lookMs ?? 10_000) : patientLookMs(options);
      const now = await readBootTime(lookAt(pool, context, lookMs));
      const restarted = hasRestarted(now, before, performance.now() - askedMs);
      if (restarted === undefined) return tellsNothing(context);
      if (restarted) {
        const executionTimeMs = msSince(askedMs);
        const took = `${Math.round(executionTimeMs / 1_000)} s`;
        say(context, `The host is back after ${took}, as boot ${now.id ?? 'unknown'}.`);
        return { status: 'succeeded', exitCode: 0, executionTimeMs };
      }
      last = undefined;
    } catch (error) {
      if (signal.aborted) continue;
      if (!(error instanceof SshError)) throw error;
      if (hopeless.has(error.reason)) return failedBeforeStart(afterRestart(error, waiting.wasAsked));
      last = error;
      if (isRefusedLogin(error)) {
        // A host that goes down or comes up refuses logins for a moment.
        const pauseMs = pauseAfterRefusal(refusals, options.refusedPausesMs);
        if (refusals === 0) say(context, `The host refuses the login: ${error.message}`);
        refusals += 1;
        say(context, `The login is tried again in ${Math.round(pauseMs / 1_000)} s.`);
        if (isRefusedByJumpHost(error)) {
          // It would be sent a login by each look at the host behind it.
          await pauseAtMost(pauseMs, signal);
          continue;
        }
        // What a host refused while it went down says nothing about the time after. A server that restarts once more
        // while the host comes up gets a login at once, too, but its refusals are counted on.
        if ((await untilAway({ pool, options, context }, pauseMs)) && !wasAway) refusals = 0;
        continue;
      }
      if (!wasAway) say(context, `The host is away: ${error.message}`);
      wasAway = true;
    }
    // An abort is handled at the top of the loop.
    await pauseAtMost(options.pollMs ?? 3_000, signal);
  }
}

function msSince(startMs: number): number {
  return Math.round(performance.now() - startMs);
}

/** Waits without logging in. Returns true as soon as the host is away, and false if it was not for so long. */
async function untilAway(
  { pool, options, context }: Pick<Waiting, 'pool' | 'options' | 'context'>,
  pauseMs: number,
): Promise<boolean> {
  const { signal, target } = context;
  const untilMs = performance.now() + pauseMs;
  const leftMs = () => Math.max(0, untilMs - performance.now());
  const checkAddresses = (found: readonly string[]) => context.checkAddresses(found);
  while (leftMs() > 0 && !signal.aborted) {
    await pauseAtMost(Math.min(options.pollMs ?? 3_000, leftMs()), signal);
    try {
      await pool.probe({ target, checkAddresses }, signal);
    } catch (error) {
      if (signal.aborted) return false;
      if (!(error instanceof SshError)) throw error;
      if (!isRefusedByJumpHost(error)) return true;
      await pauseAtMost(leftMs(), signal);
    }
  }
  return false;
}

function patientLookMs({ patientLookMs = 45_000 }: RebootOptions): number {
  return patientLookMs;
}

function lookAt(pool: SshPool, context: StepContext, lookMs: number): ScriptTarget {
  const times = { scriptTimeoutMs: lookMs, giveUpAfterMs: lookMs };
  return { pool, request: requestFor(context), ...times, isAskedOnce: true, giveUp: context.signal };
}

/** Whether the host may be restarting. If it goes down before it has answered, the command can end in several ways. */
function mayHaveRestarted({ status, reason, exitCode }: StepOutcome, { signal }: StepContext): boolean {
  if (signal.aborted) return status !== 'failed';
  if (status === 'succeeded' || reason === 'connection_lost' || reason === 'signal') return true;
  return reason === 'exit_code' && endedByRestart.has(exitCode ?? 0);
}

function stopped(
  { context: { signal, target }, wasAsked }: Waiting,
  last: SshError | undefined,
  wasAway: boolean,
): StepOutcome {
  const { host } = target;
  const { cause } = signal.reason as StopRequest;
  const asked = wasAsked ? `${host} was asked to restart` : `${host} may have been asked to restart`;
  if (cause !== 'timed_out') {
    return {
      status: 'unknown',
      reason: 'cancel_unconfirmed',
      message: wasAsked
        ? `${asked}, which can’t be undone; the step did not wait until it was back.`
        : `${asked} ${notKnown}. The step did not wait until it was back.`,
      advice: 'Check whether the host is up.',
    };
  }
  if (last === undefined && !wasAway) {
    return {
      status: 'timed_out',
      reason: 'not_rebooted',
      message: wasAsked
        ? `${asked}, but has been running all the time.`
        : `${host} has not restarted. It may have been asked to ${notKnown}.`,
      advice: wasAsked
        ? 'Check on the host what keeps it from restarting, or choose another command.'
        : 'Check on the host whether it is about to restart before you run the job again.',
    };
  }
  if (last?.reason === 'auth_failed') {
    return {
      status: 'timed_out',
      reason: 'timed_out',
      message: cutText(`${asked}, and answers, but the login is refused: ${last.message}`, 2_000),
      advice: cutText(`Whether it has restarted is not known. ${last.advice}`, 2_000),
    };
  }
  const away = `is not back yet${last === undefined ? '' : `: ${last.message}`}`;
  return {
    status: 'timed_out',
    reason: 'timed_out',
    message: cutText(wasAsked ? `${asked}, but ${away}` : `${asked} ${notKnown}. It ${away}`, 2_000),
    advice: 'Look at the console of the host; raise the timeout of the step if a restart takes that long.',
  };
}

function afterRestart(error: SshError, wasAsked: boolean): SshError {
  const { reason, advice, retryable, cause } = error;
  return new SshError({
    reason,
    advice,
    retryable,
    cause,
    message: `After it ${wasAsked ? 'was' : 'may have been'} asked to restart: ${error.message}`,
  });
}

function tellsNothing({ target: { host } }: StepContext): StepOutcome {
  return {
    status: 'failed',
    reason: 'not_rebooted',
    message: `${host} does not tell when it was started, so a restart could not be detected.`,
    advice: 'Restart it with a command, and wait for its port with wait_for.',
  };
}

function say(context: StepContext, line: string): void {
  context.output.write('stdout', Buffer.from(`${line}\n`));
}
