// Step type ssh.exec: one POSIX shell command on the target.
import { type SshExecConfig, type StepOutcome, survivesAgentRestart } from '@opsconductor/protocol';
import type { ClientChannel } from 'ssh2';
import { becomeShell } from '../../ssh/become/become-shell.ts';
import { exitOf, type SshConnection } from '../../ssh/connection.ts';
import type { PooledChannel, SshPool } from '../../ssh/pool/pool.ts';
import { sshContext } from '../../ssh/ssh-context.ts';
import type { StepContext, StepType } from '../step-type.ts';
import type { LoginShell } from './bootstrap-report.ts';
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
import {
  bootstrapCommand,
  markerLine,
  posixBootstrapCommand,
  terminalBootstrapCommand,
} from './ssh-exec-script.ts';

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
  const sendScript = (how: { awaitsPermit: boolean; isMarked: boolean; needsMarker?: boolean }) => {
    const opened = pooled as PooledChannel<ClientChannel>;
    return new CommandOnChannel(opened, scriptInput(config, context), context.output, {
      ...how,
      asksLoginShell: asOther === undefined && !loginShells.has(opened.connection),
      ...(options.beginWithinMs === undefined ? {} : { beginWithinMs: options.beginWithinMs }),
      ...(options.leftWithinMs === undefined ? {} : { leftWithinMs: options.leftWithinMs }),
    });
  };
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
    let isUseless =
      pooled.prepared &&
      exitOf(pooled.channel) !== undefined &&
      (await command?.hasRefused(context.signal)) !== true;
    if (!isUseless && isOnTrial(pooled)) {
      // Another one may have failed its trial meanwhile.
      isUseless = loginShells.get(pooled.connection) === 'other';
      if (!isUseless) {
        command = sendScript({ awaitsPermit: true, isMarked, needsMarker: true });
        isUseless = !(await command.answers(context.signal, options.trialMs ?? 5_000));
      }
      if (!isUseless) proven.add(pooled.connection);
    }
    if (isUseless && !context.signal.aborted) {
      loginShells.set(pooled.connection, 'other');
      // The waiting shell was not given the word, so a new one can be used safely.
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
    const prepared = pty ? [] : prepareFollowers(pooled, pool, context);
    const outcome = await runToEnd(command, step);
    const following = outcome.status === 'succeeded' ? followersOf(context) : [];
    // They were handed back meanwhile, or are now.
    for (const marker of prepared) if (!following.includes(marker)) pool.dropReserved(marker);
    return finish(pooled, command, outcome, { context, isFollowed: following.length > 0 });
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
function isOurs(pooled: PooledChannel<ClientChannel>): boolean {
  return (pooled.prepared || answering.has(pooled.connection)) && !isOnTrial(pooled);
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
 * How many shells are prepared for what follows. Starting one takes longer than a short command, so that the next one
 * alone would still be waited for.
 */
const followersPrepared = 2;

function followersOf({ followedBy }: StepContext): readonly string[] {
  return followedBy?.(followersPrepared) ?? [];
}

/**
 * If other attempts are to follow, their shells are started and prepared while this one's command runs. Returns the
 * others' markers.
 */
function prepareFollowers(
  pooled: PooledChannel<ClientChannel>,
  pool: SshPool,
  context: StepContext,
): readonly string[] {
  if (context.become !== undefined || !isOurs(pooled)) return [];
  const markers = followersOf(context);
  for (const marker of markers) {
    if (pool.hasReserved(marker)) continue;
    pooled.prepareNext(watchSpareShell, startSpareShell);
    prepareShell(pool, { targetId: context.target.id, marker });
  }
  return markers;
}

function finish(
  pooled: PooledChannel<ClientChannel>,
  command: CommandOnChannel,
  outcome: StepOutcome,
  { context, isFollowed }: { context: StepContext; isFollowed: boolean },
): StepOutcome {
  const { report } = command;
  if (!command.inTerminal && report?.kind === 'started' && context.become === undefined) {
    answering.add(pooled.connection);
    if (report.loginShell !== undefined) loginShells.set(pooled.connection, report.loginShell);
  }
  if (outcome.status === 'failed' && command.report?.kind !== 'started') pooled.retire();
  if (!command.inTerminal && !isFollowed && mayPrepareNext(pooled, command, context))
    pooled.prepareNext(watchSpareShell, startSpareShell);
  const { executionTimeMs } = command;
  const took = executionTimeMs === undefined ? {} : { executionTimeMs };
  return { ...outcome, ...took, ssh: sshContext(pooled) };
}

function startShell(connection: SshConnection): Promise<ClientChannel> {
  return connection.exec(bootstrapCommand);
}

/**
 * Kinds of login shells that a shell of ours has told. `other`, too, if one that was prepared by `posix` has gone or does
 * not answer, as SHELL may be wrong.
 */
const loginShells = new WeakMap<SshConnection, LoginShell>();
/** The connections of shells that login shells prepared themselves. */
const byLoginShell = new WeakMap<ClientChannel, SshConnection>();
/** Connections on which such a shell has answered. */
const proven = new WeakSet<SshConnection>();

/** Only for a shell that is prepared: if this is not understood, another shell takes its place. */
async function startSpareShell(connection: SshConnection): Promise<ClientChannel> {
  if (loginShells.get(connection) !== 'posix') return connection.exec(bootstrapCommand);
  const channel = await connection.exec(posixBootstrapCommand);
  byLoginShell.set(channel, connection);
  return channel;
}

/**
 * Whether the shell must answer before it is relied on: that others answered, which were started by another command, says
 * nothing about it. A forced command may allow only that one, or do something else at this one.
 */
function isOnTrial({ channel, connection }: PooledChannel<ClientChannel>): boolean {
  return byLoginShell.has(channel) && !proven.has(connection);
}

/** Calls `gone` as soon as the shell has ended. */
function watchSpareShell(channel: ClientChannel, gone: () => boolean): void {
  watchShell(channel, () => {
    const connection = byLoginShell.get(channel);
    if (gone() && connection !== undefined) loginShells.set(connection, 'other');
  });
}

function startInTerminal(connection: SshConnection): Promise<ClientChannel> {
  return connection.exec(terminalBootstrapCommand, { pty: true });
}
