// Step type winrm.exec: a PowerShell or cmd script on a target that speaks WinRM.
import type { StepOutcome, WinrmExecConfig } from '@opsconductor/protocol';
import {
  type CommandEnd,
  type RunLimits,
  type RunOptions,
  runCommand,
} from '../../winrm/commands/run-command.ts';
import type { ConnectionSource } from '../../winrm/connection/pool.ts';
import type { ShellSettings } from '../../winrm/messages/soap.ts';
import { scriptCommand } from '../../winrm/powershell/script-command.ts';
import type { StepContext, StepType, StopRequest } from '../step-type.ts';
import { type WinrmDeps, winrmConnections } from './winrm-connection-options.ts';
import { outcomeOfEnd, outcomeOfThrown } from './winrm-exec-outcomes.ts';
import { scriptOf } from './winrm-exec-script.ts';
import { executeAsTask, reattachTask, removeTaskOf, whatReattachNeeds } from './winrm-exec-task.ts';
import { WinrmOutput } from './winrm-output.ts';

export interface WinrmExecOptions extends WinrmDeps {
  limits?: Partial<RunLimits>;
}

/** Only the agent that made a shell knows of it, so the host removes a shell after this long without a request. */
const idleTimeoutS = 900;
/** Time to remove what a stopped batch file left, in ms. */
const removeMs = 20_000;

export function winrmExec(options: WinrmExecOptions): StepType<WinrmExecConfig> {
  return {
    type: 'winrm.exec',
    execute: (config, context) =>
      config.run_as === undefined && config.run_as_credential === undefined
        ? execute(options, config, context)
        : executeAsTask(options, config, context),
    reattach: (config, context) => reattachTask(options, config, context),
    toReattach: whatReattachNeeds,
    remove: (context, kept) => removeTaskOf(options, context, kept),
  };
}

async function execute(
  options: WinrmExecOptions,
  config: WinrmExecConfig,
  context: StepContext,
): Promise<StepOutcome> {
  const { signal, target } = context;
  const output = new WinrmOutput(context.output, signal);
  let startedMs: number | undefined;
  let end: CommandEnd;
  const { removal, ...command } = scriptCommand(scriptOf(config, context));
  let connections: ConnectionSource | undefined;
  try {
    connections = winrmConnections(context, options);
    end = await runCommand({
      connections,
      settings: settingsIn(config.working_directory),
      ...command,
      onOutput: (stream, bytes) => output.write(stream, bytes),
      beforeStart: async () => {
        await context.beforeStart();
        startedMs = performance.now();
      },
      signal,
      killGraceMs: () => (signal.reason as StopRequest).killGraceMs,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
  } catch (error) {
    return outcomeOfThrown(error, signal, connections);
  }
  output.end();
  const took = startedMs === undefined ? {} : { executionTimeMs: Math.round(performance.now() - startedMs) };
  // If the command may still be running, its files stay where they are.
  if (removal !== undefined && end.how === 'stopped' && end.confirmed) {
    await removeFiles(options, context, removal);
  }
  const stopped = signal.aborted ? (signal.reason as StopRequest) : undefined;
  return { ...outcomeOfEnd(end, config, target.host, stopped), ...took };
}

function settingsIn(workingDirectory: string | undefined): ShellSettings {
  return { environment: {}, workingDirectory, idleTimeoutS };
}

/** Ignores errors: the command's end is already known, and a failed removal must not change the outcome. */
async function removeFiles(
  options: WinrmExecOptions,
  context: StepContext,
  command: Pick<RunOptions, 'line' | 'input'>,
): Promise<void> {
  await runCommand({
    connections: winrmConnections(context, options),
    settings: settingsIn(undefined),
    ...command,
    onOutput: () => {},
    signal: AbortSignal.timeout(removeMs),
    killGraceMs: () => 0,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  }).catch(() => undefined);
}
