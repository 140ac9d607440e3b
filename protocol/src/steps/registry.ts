// The configuration schema of each step type, in one table: server, agent and forms read it.
import type { TSchema } from 'typebox';
import type { StepTypeName } from '../api/jobs.ts';
import { SshExecConfigSchema } from './ssh-exec.ts';
import { WinrmExecConfigSchema } from './winrm-exec.ts';

export const stepConfigSchemas = {
  'ssh.exec': SshExecConfigSchema,
  'winrm.exec': WinrmExecConfigSchema,
} as const satisfies Record<StepTypeName, TSchema>;

/** The configuration schema of a step type; undefined for a type that this version does not know. */
export function stepConfigSchema(type: string): TSchema | undefined {
  return Object.hasOwn(stepConfigSchemas, type) ? stepConfigSchemas[type as StepTypeName] : undefined;
}

/** Step types that still work and are to be replaced, with what to use instead. */
export const deprecatedStepTypes: Readonly<Record<string, string>> = {};
