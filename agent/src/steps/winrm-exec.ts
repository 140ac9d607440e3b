// Step type winrm.exec: a PowerShell or cmd script on a target that speaks WinRM.
import type { StepOutcome, WinrmExecConfig } from '@opsconductor/protocol';
import { SshError } from '../ssh/ssh-error.ts';
import { ClixmlDecoder } from '../winrm/clixml.ts';
import { type CommandEnd, type RunLimits, runCommand } from '../winrm/run-command.ts';
import { scriptCommand } from '../winrm/script-command.ts';
import type { ShellSettings } from '../winrm/soap.ts';
import { WinrmError } from '../winrm/winrm-error.ts';
import { failedBeforeStart, stoppedBeforeStart } from './ssh-exec-outcomes.ts';
import type { OutputSink, StepContext, StepType, StopRequest } from './step-type.ts';
import { type WinrmDeps, winrmConnections } from './winrm-connection-options.ts';
import { outcomeOfEnd, outcomeOfError } from './winrm-exec-outcomes.ts';

export interface WinrmExecOptions extends WinrmDeps {
  limits?: Partial<RunLimits>;
}

/** Nobody but the agent that made a shell knows of it: the host removes it when it has not heard of that agent for so long. */
const idleTimeoutS = 900;

export function winrmExec(options: WinrmExecOptions): StepType<WinrmExecConfig> {
  return { type: 'winrm.exec', execute: (config, context) => execute(options, config, context) };
}

async function execute(
  options: WinrmExecOptions,
  config: WinrmExecConfig,
  context: StepContext,
): Promise<StepOutcome> {
  const { signal, target } = context;
  const output = new Output(context.output, signal);
  let startedMs: number | undefined;
  let end: CommandEnd;
  try {
    end = await runCommand({
      connections: winrmConnections(context, options),
      ...commandOf(config, context),
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
    if (signal.aborted && error === signal.reason) return stoppedBeforeStart(signal.reason as StopRequest);
    if (error instanceof SshError) return failedBeforeStart(error);
    if (error instanceof WinrmError) return outcomeOfError(error);
    throw error;
  }
  output.end();
  const took = startedMs === undefined ? {} : { executionTimeMs: Math.round(performance.now() - startedMs) };
  const stopped = signal.aborted ? (signal.reason as StopRequest) : undefined;
  return { ...outcomeOfEnd(end, config, target.host, stopped), ...took };
}

function commandOf(config: WinrmExecConfig, context: StepContext) {
  const { command, shell = 'powershell', working_directory } = config;
  const { line, input } = scriptCommand({
    text: command,
    shell,
    bindings: context.bindings ?? [],
    environment: { ...config.environment, OPSCONDUCTOR_ATTEMPT: context.marker },
  });
  const settings: ShellSettings = { environment: {}, workingDirectory: working_directory, idleTimeoutS };
  return { line, input, settings };
}

/** Between a command and the step's sink: errors of PowerShell become text, and a stop is not held up by a full sink. */
class Output {
  readonly #sink: OutputSink;
  readonly #stopped: Promise<void>;
  readonly #errors = new ClixmlDecoder();

  constructor(sink: OutputSink, signal: AbortSignal) {
    this.#sink = sink;
    this.#stopped = new Promise((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  async write(stream: 'stdout' | 'stderr', bytes: Buffer): Promise<void> {
    const written = stream === 'stdout' ? bytes : Buffer.from(this.#errors.write(bytes));
    if (written.length === 0 || this.#sink.write(stream, written)) return;
    await Promise.race([this.#sink.drained(), this.#stopped]);
  }

  end(): void {
    const rest = this.#errors.end();
    if (rest !== '') this.#sink.write('stderr', Buffer.from(rest));
  }
}
