import type { WinrmExecConfig } from '@opsconductor/protocol';
import type { Script } from '../../winrm/powershell/script-command.ts';
import type { StepContext } from '../step-type.ts';

/** The script with all that it is given. */
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
