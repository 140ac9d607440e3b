import type { WinrmExecConfig } from '@opsconductor/protocol';
import type { Script } from '../../winrm/powershell/script-command.ts';
import type { StepContext } from '../step-type.ts';

/** Returns the script with its values, environment, input and limits. */
export function scriptOf(config: WinrmExecConfig, context: StepContext): Script {
  const { command: text, shell = 'powershell', stdin, limits } = config;
  return {
    text,
    shell,
    bindings: context.bindings ?? [],
    environment: { ...config.environment, OPSCONDUCTOR_ATTEMPT: context.marker },
    ...(stdin === undefined || stdin === '' ? {} : { stdin }),
    ...(limits === undefined ? {} : { limits: { memoryMb: limits.memory_mb, priority: limits.priority } }),
  };
}
