// winrm.exec with `run_as` or `run_as_credential`: the script runs as a scheduled task of the host, which survives its
// agent.
import type { StepOutcome, WinrmExecConfig } from '@opsconductor/protocol';
import { SshError } from '../../ssh/ssh-error.ts';
import type { CommandEnd } from '../../winrm/commands/run-command.ts';
import type { ConnectionSource } from '../../winrm/connection/pool.ts';
import { scriptCommand } from '../../winrm/powershell/script-command.ts';
import { removeTask, runTask, type TaskStart } from '../../winrm/tasks/task-command.ts';
import type { AttemptOnTarget, KeptOutput, StepContext, StopRequest } from '../step-type.ts';
import { winrmConnections } from './winrm-connection-options.ts';
import type { WinrmExecOptions } from './winrm-exec.ts';
import { outcomeOfEnd, outcomeOfThrown } from './winrm-exec-outcomes.ts';
import { scriptOf } from './winrm-exec-script.ts';
import { WinrmOutput } from './winrm-output.ts';

/** The task scheduler's own default. */
const priority = 7;

export async function executeAsTask(
  options: WinrmExecOptions,
  config: WinrmExecConfig,
  context: StepContext,
): Promise<StepOutcome> {
  const { kept } = context.output;
  const survives = kept !== undefined && context.maySurvive;
  if (survives) kept.follow();
  const how = survives ? { survivesWith: whatReattachNeeds(config) } : undefined;
  let begunMs: number | undefined;
  const outcome = await followTask(options, config, context, {
    start: startOf(config, context),
    ...(survives ? { kept } : {}),
    beforeStart: async () => {
      await context.beforeStart(how);
      begunMs = performance.now();
    },
  });
  // If the task survives, it is removed when the server has confirmed the end.
  if (!survives && begunMs !== undefined) {
    await removeTaskOf(options, context, { command: true }).catch(() => undefined);
  }
  const took = begunMs === undefined ? {} : { executionTimeMs: Math.round(performance.now() - begunMs) };
  return { ...outcome, ...took };
}

/** Returns the configuration without the command, environment, directory and input, which may hold secrets. */
export function whatReattachNeeds(config: WinrmExecConfig): WinrmExecConfig {
  const { environment: _, working_directory: __, stdin: ___, ...rest } = config;
  return { ...rest, command: '-' };
}

export function reattachTask(
  options: WinrmExecOptions,
  config: WinrmExecConfig,
  context: StepContext,
): Promise<StepOutcome> {
  const { kept } = context.output;
  if (kept === undefined) throw new Error('The output can’t be continued without its positions');
  kept.follow();
  return followTask(options, config, context, { kept });
}

export async function removeTaskOf(
  options: WinrmExecOptions,
  attempt: AttemptOnTarget,
  kept: { command: boolean },
): Promise<void> {
  if (!kept.command) return;
  await removeTask(winrmConnections(attempt, options), attempt.directoryName);
}

async function followTask(
  options: WinrmExecOptions,
  config: WinrmExecConfig,
  context: StepContext,
  { kept, ...more }: { kept?: KeptOutput; start?: TaskStart; beforeStart?: () => Promise<void> },
): Promise<StepOutcome> {
  const { signal, target } = context;
  const output = new WinrmOutput(context.output, signal);
  const taken = { stdout: 0, stderr: 0 };
  let end: CommandEnd;
  let connections: ConnectionSource | undefined;
  try {
    connections = winrmConnections(context, options);
    end = await runTask({
      connections,
      name: context.directoryName,
      // The step's own configuration decides whether it runs as another user; a `runAs` sent without that is ignored.
      user: config.run_as_credential === undefined ? undefined : context.runAs?.user,
      // A sink counts only after `follow()`. Without that, `kept` is undefined here, and `taken` has the count.
      taken: () => kept?.written() ?? taken,
      onOutput: async (stream, bytes) => {
        taken[stream] += bytes.length;
        await output.writeAsIs(stream, bytes);
      },
      signal,
      ...more,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
  } catch (error) {
    return outcomeOfThrown(error, signal, connections);
  }
  return outcomeOfEnd(end, config, target.host, signal.aborted ? (signal.reason as StopRequest) : undefined);
}

function startOf(config: WinrmExecConfig, context: StepContext): TaskStart {
  const { shell = 'powershell', working_directory, run_as_credential } = config;
  const script = scriptOf(config, context);
  const { input } = scriptCommand({ ...script, task: context.directoryName });
  if (run_as_credential !== undefined && context.runAs === undefined) {
    throw new SshError({
      reason: 'credential_unusable',
      message: 'The server gave no credential for the command to run as.',
      advice: 'Upgrade every server.',
    });
  }
  return {
    ...(run_as_credential === undefined || context.runAs === undefined
      ? {}
      : { password: context.runAs.password }),
    shell: shell === 'pwsh' ? 'pwsh' : 'powershell',
    input: input.toString('latin1'),
    workingDirectory: working_directory,
    priority,
  };
}
