// Step type ssh.exec: one POSIX shell command on the target.
import { type SshExecConfig, type StepOutcome, survivesAgentRestart } from '@opsconductor/protocol';
import type { ClientChannel } from 'ssh2';
import { becomeShell } from '../../ssh/become/become-shell.ts';
import { exitOf, type SshConnection } from '../../ssh/connection.ts';
import type { PooledChannel, SshPool } from '../../ssh/pool/pool.ts';
import { sshContext } from '../../ssh/ssh-context.ts';
import type { StepContext, StepType } from '../step-type.ts';
import { CommandOnChannel } from './command-on-channel.ts';
import { readOutputFile } from './output-file.ts';
import {
  reattachDetached,
  removeAttemptFiles,
  startDetached,
  whatReattachNeeds,
} from './ssh-exec-detached.ts';
import { serverTooOld } from './ssh-exec-outcomes.ts';
import {
  mayPrepareNext,
  openShell,
  refusedBeforeStart,
  replaceGoneShell,
  runToEnd,
  type SshExecOptions,
  type SshExecStep,
  scriptInput,
  watchShell,
} from './ssh-exec-run.ts';
import { bootstrapCommand, markerLine, terminalBootstrapCommand } from './ssh-exec-script.ts';

export type { SshExecOptions } from './ssh-exec-run.ts';

/** Creates the step type on a pool of connections that the caller owns. */
export function sshExec(pool: SshPool, options: SshExecOptions = {}): StepType<SshExecConfig> {
  return {
    type: 'ssh.exec',
    execute: async (config, context) => {
      try {
        return await executeEitherWay({ pool, options, config, context });
      } finally {
        // The step may have ended without using the shell that was prepared for it.
        pool.dropReserved(context.marker);
      }
    },
    // The waiting shell replaces itself with the one that reads the script, which takes half of the time until a
    // command begins.
    prepare: (coming) => prepareShell(pool, coming),
    forgo: (marker) => pool.dropReserved(marker),
    reattach: (config, context) => reattachDetached({ pool, options, config, context }),
    toReattach: whatReattachNeeds,
    readOutputFile: (context) => readOutputFile(pool, context),
    remove: (context, kept) => removeAttemptFiles(pool, context, kept),
  };
}

/** Runs the command so that it survives the agent, if it should and can; otherwise so that it ends with its channel. */
async function executeEitherWay(step: SshExecStep): Promise<StepOutcome> {
  const { config, context } = step;
  const { kept } = context.output;
  if (!context.maySurvive && config.survive_agent_restart === true) return serverTooOld();
  if (kept === undefined || !context.maySurvive || !survivesAgentRestart(config)) return execute(step);
  const outcome = await startDetached({ ...step, kept });
  // The target can't keep it running, the step doesn't insist on it, and nothing was started yet.
  return outcome ?? execute(step);
}

async function execute(step: SshExecStep): Promise<StepOutcome> {
  const { pool, options, config, context } = step;
  const { become, marker } = context;
  const pty = config.pty === true;
  const asOther = become && ((connection: SshConnection) => becomeShell(connection, become, { marker, pty }));
  let pooled = await openShell(pool, context, asOther ?? (pty ? startInTerminal : startShell));
  if (!('channel' in pooled)) return pooled;
  const sendScript = (how: { awaitsPermit: boolean; isMarked: boolean }) =>
    new CommandOnChannel(
      pooled as PooledChannel<ClientChannel>,
      scriptInput(config, context),
      context.output,
      {
        ...how,
        ...(options.beginWithinMs === undefined ? {} : { beginWithinMs: options.beginWithinMs }),
        ...(options.leftWithinMs === undefined ? {} : { leftWithinMs: options.leftWithinMs }),
      },
    );
  try {
    // While the start is recorded, a shell known to be ours prepares and waits for the word. Any other gets no script
    // yet.
    let isMarked = asOther !== undefined || pooled.reserved;
    let command =
      !pty && mayGoAhead(pooled, context) ? sendScript({ awaitsPermit: true, isMarked }) : undefined;
    if (command === undefined && pooled.prepared && !isMarked) {
      pooled.channel.write(markerLine(marker));
      isMarked = true;
    }
    // What was sent leaves at the end of this turn (`writeTurnsWhole`). Otherwise it would wait until the start is
    // recorded, which may hold up this thread.
    await new Promise(setImmediate);
    await context.beforeStart();
    const hasGone = pooled.prepared && exitOf(pooled.channel) !== undefined;
    const hasRefused = hasGone && (await command?.hasRefused(context.signal)) === true;
    if (hasGone && !hasRefused && !context.signal.aborted) {
      // The waiting shell is gone and was not given the word, so a new one can be used safely.
      command = undefined;
      isMarked = false;
      const next = await replaceGoneShell(pooled, pool, context, startShell);
      if (!('channel' in next)) return next;
      pooled = next;
      // Opening it may have taken longer than the lease had left.
      await context.beforeStart();
    }
    const refused = refusedBeforeStart(pooled, context);
    if (refused !== undefined) return refused;
    command ??= sendScript({ awaitsPermit: false, isMarked });
    command.permit();
    const prepared = pty ? undefined : prepareFollower(pooled, pool, context);
    const outcome = await runToEnd(command, step);
    // It was handed back meanwhile, or is now.
    if (prepared !== undefined && (outcome.status !== 'succeeded' || context.followedBy?.() !== prepared))
      pool.dropReserved(prepared);
    return finish(pooled, command, outcome, context);
  } finally {
    pooled.channel.close();
    pooled.release();
  }
}

/**
 * Connections on which our shell has answered, so that no forced command replaces it and would read the script as its
 * own.
 */
const answering = new WeakSet<SshConnection>();

/** Whether the shell is known to be ours. */
function isOurs({ prepared, connection }: PooledChannel<ClientChannel>): boolean {
  return prepared || answering.has(connection);
}

/**
 * Whether the script may be sent before the start is recorded. Nothing of the command runs without the word, but the
 * file for its outputs would already be made, so a step with such a file waits.
 */
function mayGoAhead(pooled: PooledChannel<ClientChannel>, context: StepContext): boolean {
  return isOurs(pooled) && context.become === undefined && context.outputFile !== true;
}

/** Prepares the waiting shell on a target for one attempt. */
function prepareShell(pool: SshPool, { targetId, marker }: { targetId: number; marker: string }): void {
  pool.reserve({ targetId, name: marker }, startShell, (channel) => channel.write(markerLine(marker)));
}

/**
 * If another attempt is to follow, its shell is started and prepared while this one's command runs. Returns the other's
 * marker.
 */
function prepareFollower(
  pooled: PooledChannel<ClientChannel>,
  pool: SshPool,
  context: StepContext,
): string | undefined {
  const marker = context.followedBy?.();
  if (marker === undefined || context.become !== undefined || !isOurs(pooled)) return undefined;
  pooled.prepareNext(watchShell);
  prepareShell(pool, { targetId: context.target.id, marker });
  return marker;
}

function finish(
  pooled: PooledChannel<ClientChannel>,
  command: CommandOnChannel,
  outcome: StepOutcome,
  context: StepContext,
): StepOutcome {
  if (!command.inTerminal && command.report?.kind === 'started' && context.become === undefined)
    answering.add(pooled.connection);
  if (outcome.status === 'failed' && command.report?.kind !== 'started') pooled.retire();
  if (!command.inTerminal && mayPrepareNext(pooled, command, context)) pooled.prepareNext(watchShell);
  const { executionTimeMs } = command;
  const took = executionTimeMs === undefined ? {} : { executionTimeMs };
  return { ...outcome, ...took, ssh: sshContext(pooled) };
}

function startShell(connection: SshConnection): Promise<ClientChannel> {
  return connection.exec(bootstrapCommand);
}

function startInTerminal(connection: SshConnection): Promise<ClientChannel> {
  return connection.exec(terminalBootstrapCommand, { pty: true });
}
