// Step type ssh.exec: one POSIX shell command on the target.
import { type SshExecConfig, type StepOutcome, survivesAgentRestart } from '@opsconductor/protocol';
import type { ClientChannel } from 'ssh2';
import { becomeShell } from '../../ssh/become/become-shell.ts';
import { exitOf, type SshConnection } from '../../ssh/connection.ts';
import type { Lease, SshPool } from '../../ssh/pool/pool.ts';
import { sshContext } from '../../ssh/ssh-context.ts';
import type { StepContext, StepType } from '../step-type.ts';
import { readOutputFile } from './output-file.ts';
import { CommandOnChannel } from './ssh-exec-attempt.ts';
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
        return await executeEitherWay(pool, options, config, context);
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
async function executeEitherWay(
  pool: SshPool,
  options: SshExecOptions,
  config: SshExecConfig,
  context: StepContext,
): Promise<StepOutcome> {
  const { kept } = context.output;
  if (!context.maySurvive && config.survive_agent_restart === true) return serverTooOld();
  if (kept === undefined || !context.maySurvive || !survivesAgentRestart(config))
    return execute(pool, options, config, context);
  const outcome = await startDetached({ pool, options, config, context, kept });
  // The target can't keep it running, the step doesn't insist on it, and nothing was started yet.
  return outcome ?? execute(pool, options, config, context);
}

async function execute(
  pool: SshPool,
  options: SshExecOptions,
  config: SshExecConfig,
  context: StepContext,
): Promise<StepOutcome> {
  const { become, marker } = context;
  const pty = config.pty === true;
  const asOther = become && ((connection: SshConnection) => becomeShell(connection, become, { marker, pty }));
  let lease = await openShell(pool, context, asOther ?? (pty ? startInTerminal : startShell));
  if (!('channel' in lease)) return lease;
  const startAttempt = (awaitsPermit: boolean, isMarked: boolean) =>
    new CommandOnChannel(lease as Lease<ClientChannel>, scriptInput(config, context), context.output, {
      awaitsPermit,
      isMarked,
      ...(options.beginWithinMs === undefined ? {} : { beginWithinMs: options.beginWithinMs }),
      ...(options.leftWithinMs === undefined ? {} : { leftWithinMs: options.leftWithinMs }),
    });
  try {
    // While the start is recorded, a shell known to be ours prepares and waits for the word. Any other gets no script
    // yet.
    let isMarked = asOther !== undefined || lease.reserved;
    let attempt = !pty && mayGoAhead(lease, context) ? startAttempt(true, isMarked) : undefined;
    if (attempt === undefined && lease.prepared && !isMarked) {
      lease.channel.write(markerLine(marker));
      isMarked = true;
    }
    // What was sent leaves at the end of this turn (`writeTurnsWhole`). Otherwise it would wait until the start is
    // recorded, which may hold up this thread.
    await new Promise(setImmediate);
    await context.beforeStart();
    const hasGone = lease.prepared && exitOf(lease.channel) !== undefined;
    const hasRefused = hasGone && (await attempt?.hasRefused(context.signal)) === true;
    if (hasGone && !hasRefused && !context.signal.aborted) {
      // The waiting shell is gone and was not given the word, so a new one can be used safely.
      attempt = undefined;
      isMarked = false;
      const next = await replaceGoneShell(lease, pool, context, startShell);
      if (!('channel' in next)) return next;
      lease = next;
      // Opening it may have taken longer than the lease had left.
      await context.beforeStart();
    }
    const refused = refusedBeforeStart(lease, context);
    if (refused !== undefined) return refused;
    attempt ??= startAttempt(false, isMarked);
    attempt.permit();
    const prepared = pty ? undefined : prepareFollower(lease, pool, context);
    const outcome = await runToEnd(attempt, pool, options, config, context);
    // It was handed back meanwhile, or is now.
    if (prepared !== undefined && (outcome.status !== 'succeeded' || context.followedBy?.() !== prepared))
      pool.dropReserved(prepared);
    return finish(lease, attempt, outcome, context);
  } finally {
    lease.channel.close();
    lease.release();
  }
}

/**
 * Connections on which our shell has answered, so that no forced command replaces it and would read the script as its
 * own.
 */
const answering = new WeakSet<SshConnection>();

/** Whether the shell is known to be ours. */
function isOurs({ prepared, connection }: Lease<ClientChannel>): boolean {
  return prepared || answering.has(connection);
}

/**
 * Whether the script may be sent before the start is recorded. Nothing of the command runs without the word, but the
 * file for its outputs would already be made, so a step with such a file waits.
 */
function mayGoAhead(lease: Lease<ClientChannel>, context: StepContext): boolean {
  return isOurs(lease) && context.become === undefined && context.outputFile !== true;
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
  lease: Lease<ClientChannel>,
  pool: SshPool,
  context: StepContext,
): string | undefined {
  const marker = context.followedBy?.();
  if (marker === undefined || context.become !== undefined || !isOurs(lease)) return undefined;
  lease.prepareNext(watchShell);
  prepareShell(pool, { targetId: context.target.id, marker });
  return marker;
}

function finish(
  lease: Lease<ClientChannel>,
  attempt: CommandOnChannel,
  outcome: StepOutcome,
  context: StepContext,
): StepOutcome {
  if (!attempt.inTerminal && attempt.report?.kind === 'started' && context.become === undefined)
    answering.add(lease.connection);
  if (outcome.status === 'failed' && attempt.report?.kind !== 'started') lease.retire();
  if (!attempt.inTerminal && mayPrepareNext(lease, attempt, context)) lease.prepareNext(watchShell);
  const { executionTimeMs } = attempt;
  const took = executionTimeMs === undefined ? {} : { executionTimeMs };
  return { ...outcome, ...took, ssh: sshContext(lease) };
}

function startShell(connection: SshConnection): Promise<ClientChannel> {
  return connection.exec(bootstrapCommand);
}

function startInTerminal(connection: SshConnection): Promise<ClientChannel> {
  return connection.exec(terminalBootstrapCommand, { pty: true });
}
