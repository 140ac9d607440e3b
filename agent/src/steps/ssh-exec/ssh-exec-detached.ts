// ssh.exec for commands that survive their agent: they are started independently of the connection and found again
// later.
import type { SshExecConfig, StepOutcome } from '@opsconductor/protocol';
import { DetachedCommand, type NoEnd } from '../../detached/detached-command.ts';
import { removeScript, startScript } from '../../detached/supervisor-script.ts';
import { plainShellFor } from '../../ssh/become/become-shell.ts';
import { exitOf } from '../../ssh/connection.ts';
import type { SshPool } from '../../ssh/pool/pool.ts';
import { requestFor } from '../../ssh/pool/request-for.ts';
import { runScript } from '../../ssh/run-script.ts';
import { sshContext } from '../../ssh/ssh-context.ts';
import { type AttemptOnTarget, type KeptOutput, type StepContext, TakenOverElsewhere } from '../step-type.ts';
import { newNonce } from './bootstrap-report.ts';
import { outputDirectory } from './output-file.ts';
import { becomeShellEnded } from './ssh-exec-outcomes.ts';
import {
  mayPrepareNext,
  openShell,
  refusedBeforeStart,
  replaceGoneShell,
  runToEnd,
  type SshExecStep,
  scriptInput,
  watchShell,
} from './ssh-exec-run.ts';
import { commandScript } from './ssh-exec-script.ts';

/**
 * Returns undefined, with nothing started, if the target can't keep the command running and the step doesn't insist on
 * it.
 */
export async function startDetached(
  step: SshExecStep & { kept: KeptOutput },
): Promise<StepOutcome | undefined> {
  const { pool, config, context, kept } = step;
  const start = plainShellFor(context.become);
  let pooled = await openShell(pool, context, start);
  if (!('channel' in pooled)) return pooled;
  kept.follow();
  try {
    const survivesWith = whatReattachNeeds(config);
    await context.beforeStart({ survivesWith });
    if (pooled.prepared && exitOf(pooled.channel) !== undefined) {
      // The waiting shell is gone and was sent nothing, so a new one can be used safely.
      const next = await replaceGoneShell(pooled, pool, context, start);
      if (!('channel' in next)) return next;
      pooled = next;
      // Opening it may have taken longer than the lease had left.
      await context.beforeStart({ survivesWith });
    }
    const refused = refusedBeforeStart(pooled, context);
    if (refused !== undefined) {
      pooled.channel.close();
      pooled.release();
      return refused;
    }
  } catch (error) {
    pooled.channel.close();
    pooled.release();
    throw error;
  }
  const nonce = newNonce();
  const { marker, directoryName: name } = context;
  const script = commandScript(
    scriptInput(config, context),
    (report) => `{ echo "${report}" >&8; echo >&9; }`,
    { afterReport: ['exec 8>&- 9>&-'] },
  );
  const begin = { pooled, nonce, script: startScript({ name, marker, nonce, script }) };
  const command = new DetachedCommand({ ...optionsOf(step), kept, start: begin });
  // The race lets a step be stopped even if its target never answers.
  const stopped = new Promise((resolve) => context.signal.addEventListener('abort', resolve, { once: true }));
  await Promise.race([command.begun, stopped]);
  if (command.noEnd?.is === 'refused' && config.survive_agent_restart !== true) return undefined;
  const outcome = await toOutcome(command, step);
  if (command.noEnd?.is === 'refused') pooled.retire();
  if (mayPrepareNext(pooled, command, context)) pooled.prepareNext(watchShell);
  return outcome;
}

/** Returns the configuration without the command, environment, directory and input, which may hold secrets. */
export function whatReattachNeeds(config: SshExecConfig): SshExecConfig {
  const { environment: _, working_directory: __, stdin: ___, ...rest } = config;
  return { ...rest, command: '-' };
}

export async function reattachDetached(step: SshExecStep): Promise<StepOutcome> {
  const { kept } = step.context.output;
  if (kept === undefined) throw new Error('The output can’t be continued without its positions');
  kept.follow();
  const { begunAtMs, collector } = step.context;
  const command = new DetachedCommand({
    ...optionsOf(step),
    kept,
    ...(begunAtMs === undefined ? {} : { begunAtMs }),
    ...(collector === undefined ? {} : { collector }),
  });
  return toOutcome(command, step);
}

/**
 * Removes the attempt's files from the target. Rejects if the target can't be reached or doesn't confirm the removal.
 */
export async function removeAttemptFiles(
  pool: SshPool,
  attempt: AttemptOnTarget,
  kept: { command: boolean; outputFile: boolean },
): Promise<void> {
  const nonce = newNonce();
  const names = {
    ...(kept.command ? { command: attempt.directoryName } : {}),
    ...(kept.outputFile ? { handedOn: outputDirectory(attempt.directoryName) } : {}),
  };
  const said = await runScript(
    {
      pool,
      request: requestFor(attempt),
      become: attempt.become,
      scriptTimeoutMs: 30_000,
      giveUpAfterMs: 60_000,
    },
    removeScript(names, nonce),
  );
  if (!said.includes(`${nonce} removed`)) throw new Error('the files of the attempt could not be removed');
}

async function toOutcome(command: DetachedCommand, step: SshExecStep): Promise<StepOutcome> {
  const { context } = step;
  try {
    const outcome = await runToEnd(command, step);
    if (command.noEnd?.is === 'taken') throw new TakenOverElsewhere('another agent collects this command');
    const stopped = context.signal.aborted;
    const told = command.noEnd === undefined || stopped ? outcome : noEndOutcome(command.noEnd, context);
    const { executionTimeMs, seenOn } = command;
    return {
      ...told,
      ...(executionTimeMs === undefined ? {} : { executionTimeMs }),
      ...command.use,
      ...(seenOn === undefined ? {} : { ssh: sshContext(seenOn) }),
      ...(command.cutStreams.length === 0 ? {} : { message: noRoom(told.message) }),
    };
  } finally {
    command.close();
  }
}

function noRoom(message: string | undefined): string {
  const said =
    'The rest of the output is lost: the target had no room for it (a full disk, a limit on the size of files), or what kept it there was ended.';
  return message === undefined ? said : `${message} ${said}`;
}

function noEndOutcome(noEnd: NoEnd, { target: { host }, become, collector }: StepContext): StepOutcome {
  const advice = 'Check on the host what the step did before you run it again.';
  // After a take-over, "never" is not certain: the first agent may have started the command without a supervisor after
  // all, and not have had the time to say so.
  const is = noEnd.is === 'never' && collector !== undefined ? 'supervisor' : noEnd.is;
  switch (is) {
    case 'refused':
      if (become !== undefined && noEnd.is === 'refused' && noEnd.shellEnded !== undefined)
        return becomeShellEnded(become, host, noEnd.shellEnded);
      return {
        status: 'failed',
        reason: 'no_supervisor',
        message: `The command was not started: ${host} can't keep it running without an agent: ${whyOf(noEnd)}.`,
        advice:
          noEnd.is === 'refused' && noEnd.shellEnded !== undefined
            ? 'Test the target: that says what its login shell prints. Usual causes: an expired password, nologin, a restricted shell.'
            : 'Fix that on the host, or set survive_agent_restart of the step to false.',
      };
    case 'exists':
      return {
        status: 'failed',
        reason: 'no_supervisor',
        message: `The command was not started: a directory of this attempt already exists on ${host}.`,
        advice: 'Run the step again.',
      };
    case 'never':
      return {
        status: 'failed',
        reason: 'unreachable',
        message: `The command was not started: the script that starts it never arrived on ${host}.`,
        advice: 'Nothing ran, so the step can be run again.',
      };
    case 'rebooted':
      return {
        status: 'unknown',
        reason: 'target_rebooted',
        message: `${host} was restarted while the command ran; it did not end by itself.`,
        advice,
      };
    case 'mute':
      return {
        status: 'unknown',
        reason: 'supervisor_lost',
        message: `The login shell on ${host} ends with exit code 0 without answering what it is sent; it is not known whether the command was started.`,
        advice: `Look at the startup files of that shell: one of them ends it and leaves a process that holds its output. ${advice}`,
      };
    case 'killed':
      return {
        status: 'unknown',
        reason: 'supervisor_lost',
        message: `Each login shell on ${host} is ended before it answers (${noEnd.is === 'killed' ? noEnd.how : ''}); it is not known whether the command was started.`,
        advice: `Look at the limits of that user there (ulimit -a), and at the memory of the host. ${advice}`,
      };
    case 'supervisor':
    case 'taken':
    case 'closed':
      return {
        status: 'unknown',
        reason: 'supervisor_lost',
        message: `The supervisor of the command on ${host} was ended; it is not known whether and how the command ended.`,
        advice,
      };
  }
}

function whyOf(noEnd: NoEnd): string {
  return noEnd.is === 'refused' ? noEnd.why : noEnd.is;
}

function optionsOf({ pool, context }: SshExecStep) {
  const { directoryName: name, become, output: sink } = context;
  const onSilence = context.targetSilence;
  return { pool, request: requestFor(context), name, become, sink, onSilence };
}
