// Step type wait_for: waits until a port is open or closed, a command succeeds, or a time has passed.

import type { SshExecConfig, StepOutcome, WaitForConfig } from '@opsconductor/protocol';
import { cutText } from '../../cut-text.ts';
import { isRefusedLogin, pauseAfterRefusal } from '../../ssh/login/refused-login.ts';
import type { SshPool } from '../../ssh/pool/pool.ts';
import { quote } from '../../ssh/quote.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import { pauseAtMost } from '../../timing/pause.ts';
import { failedBeforeStart, stoppedStatus } from '../before-start-outcomes.ts';
import { sshExec } from '../ssh-exec/ssh-exec.ts';
import type { StepContext, StepType, StopRequest } from '../step-type.ts';

/** Reasons that mean that nothing accepts connections on a port. */
const closedReasons = new Set(['connection_refused', 'connect_timed_out', 'unreachable']);
/**
 * Error codes of `unreachable` that mean that the host is away. The others mean that this machine can't connect, which
 * says nothing about the port.
 */
const hostAway = new Set([undefined, 'EHOSTUNREACH', 'EHOSTDOWN']);
/** Errors that waiting can't cure: this agent may not connect. */
const hopeless = new Set(['credential_bounds', 'policy_refused']);

/** Creates the step type on a pool of connections that the caller owns. */
export function waitFor(pool: SshPool): StepType<WaitForConfig> {
  const exec = sshExec(pool);
  const reattachCommand = exec.reattach;
  return {
    type: 'wait_for',
    execute: async (config, context) => {
      if (config.command !== undefined) {
        return commandOutcome(await exec.execute(untilItEndsWell(config, config.command), context), config);
      }
      context.output.kept?.follow();
      await context.beforeStart(context.maySurvive ? { survivesWith: config } : undefined);
      return watch(pool, config, context);
    },
    reattach: async (config, context) => {
      if (config.command === undefined || reattachCommand === undefined) {
        context.output.kept?.follow();
        return watch(pool, config, context);
      }
      return commandOutcome(await reattachCommand(untilItEndsWell(config, '-'), context), config);
    },
    // Only a command leaves anything on the target.
    remove: async (context, kept, config) => {
      if ((Object(config) as WaitForConfig).command !== undefined) await exec.remove?.(context, kept, config);
    },
  };
}

/** Returns an ssh.exec command that loops until the given one succeeds, so that stopping works as for ssh.exec. */
function untilItEndsWell(
  { interval = 5, timeout = 300, become }: WaitForConfig,
  command: string,
): SshExecConfig {
  // Without `sleep` there would be no pause.
  const pause = `sleep ${interval}; case $? in 126 | 127) exit 127;; esac`;
  const loop = `until ( eval ${quote(command)} ); do ${pause}; done`;
  // `become` is included because an agent that reattaches must look for it as the same user.
  return { command: loop, timeout, ...(become === undefined ? {} : { become }) };
}

function commandOutcome(outcome: StepOutcome, { timeout = 300 }: WaitForConfig): StepOutcome {
  if (outcome.status !== 'timed_out') return outcome;
  const message = `The command did not end with exit code 0 within ${timeout} s; the last try was ended.`;
  return { ...outcome, message, advice: 'Its output says why; raise the timeout if it takes longer.' };
}

/** Waits for a port or a time, and says how long that took: since the step began, also for an agent that took it up. */
async function watch(pool: SshPool, config: WaitForConfig, context: StepContext): Promise<StepOutcome> {
  const startedMs = performance.now();
  const before = context.begunAtMs === undefined ? 0 : performance.now() - context.begunAtMs;
  const outcome = await watchOnce(pool, config, context);
  if (outcome.status === 'failed') return outcome;
  return { ...outcome, executionTimeMs: Math.round(before + performance.now() - startedMs) };
}

async function watchOnce(pool: SshPool, config: WaitForConfig, context: StepContext): Promise<StepOutcome> {
  const { seconds, port } = config;
  if (port !== undefined) return untilPort(pool, { ...config, port }, context);
  const goneMs = context.begunAtMs === undefined ? 0 : performance.now() - context.begunAtMs;
  // An abort is handled below.
  await pauseAtMost(Math.max(0, (seconds ?? 0) * 1_000 - goneMs), context.signal);
  if (context.signal.aborted)
    return stopped(context.signal.reason as StopRequest, 'The time had not passed.');
  return { status: 'succeeded', exitCode: 0 };
}

async function untilPort(
  pool: SshPool,
  { port, state = 'open', interval = 5 }: WaitForConfig & { port: number },
  context: StepContext,
): Promise<StepOutcome> {
  const { signal } = context;
  const target = { ...context.target, port };
  const checkAddresses = (found: readonly string[]) => context.checkAddresses(found);
  const place = `Port ${port} of ${target.host}`;
  say(context, `Waiting until port ${port} of ${target.host} is ${state}.`);
  let refusals = 0;
  for (let last = ''; ; ) {
    let pauseMs = interval * 1_000;
    if (signal.aborted)
      return stopped(signal.reason as StopRequest, `${place} was not ${state}. ${last}`.trim());
    try {
      await pool.probe({ target, checkAddresses }, signal);
      if (state === 'open') return reached(context, `${place} is open.`);
      last = 'It accepts connections.';
    } catch (error) {
      if (signal.aborted) continue;
      if (!(error instanceof SshError)) throw error;
      if (hopeless.has(error.reason)) return failedBeforeStart(error);
      if (state === 'closed' && isClosed(error)) return reached(context, `${place} is closed.`);
      last = error.message;
      if (isRefusedLogin(error)) {
        // A jump host on the way to the port.
        pauseMs = Math.max(pauseMs, pauseAfterRefusal(refusals));
        refusals += 1;
        say(context, `${last} The login is tried again in ${pauseMs / 1_000} s.`);
      }
    }
    await pauseAtMost(pauseMs, signal);
  }
}

function isClosed({ reason, cause }: SshError): boolean {
  const { code } = Object(cause) as { code?: string };
  return closedReasons.has(reason) && (reason !== 'unreachable' || hostAway.has(code));
}

function reached(context: StepContext, line: string): StepOutcome {
  say(context, line);
  return { status: 'succeeded', exitCode: 0 };
}

function stopped(request: StopRequest, message: string): StepOutcome {
  return { status: stoppedStatus(request), reason: request.cause, message: cutText(message, 2_000) };
}

function say(context: StepContext, line: string): void {
  context.output.write('stdout', Buffer.from(`${line}\n`));
}
