// The configuration schema of each step type, in one table for server, agent and forms.
import type { TSchema } from 'typebox';
import type { StepTypeName } from '../api/jobs/jobs.ts';
import { RebootConfigSchema } from './reboot.ts';
import { SftpDownloadConfigSchema } from './sftp-download.ts';
import { SftpSyncConfigSchema } from './sftp-sync.ts';
import { SftpUploadConfigSchema } from './sftp-upload.ts';
import { SshCopyConfigSchema } from './ssh-copy.ts';
import { SshExecConfigSchema } from './ssh-exec.ts';
import { WaitForConfigSchema } from './wait-for.ts';
import { WinrmCopyConfigSchema } from './winrm-copy.ts';
import { WinrmExecConfigSchema } from './winrm-exec.ts';

export const stepConfigSchemas = {
  'ssh.exec': SshExecConfigSchema,
  reboot: RebootConfigSchema,
  wait_for: WaitForConfigSchema,
  'ssh.copy': SshCopyConfigSchema,
  'sftp.upload': SftpUploadConfigSchema,
  'sftp.download': SftpDownloadConfigSchema,
  'sftp.sync': SftpSyncConfigSchema,
  'winrm.exec': WinrmExecConfigSchema,
  'winrm.copy': WinrmCopyConfigSchema,
} as const satisfies Record<StepTypeName, TSchema>;

/** Returns the configuration schema of a step type; `undefined` for a type that this version doesn't know. */
export function stepConfigSchema(type: string): TSchema | undefined {
  return Object.hasOwn(stepConfigSchemas, type) ? stepConfigSchemas[type as StepTypeName] : undefined;
}

/** Returns how long a step of a type may take by default, in seconds. */
export function defaultTimeoutS(type: string): number {
  const { properties } = Object(stepConfigSchema(type)) as {
    properties?: { timeout?: { default?: unknown } };
  };
  const seconds = properties?.timeout?.default;
  return typeof seconds === 'number' ? seconds : 300;
}

/** Seconds between TERM and KILL for steps that don't set `kill_grace`. */
export const defaultKillGraceS = 10;

/** Step types that still work but should be replaced, with what to use instead. */
export const deprecatedStepTypes: Readonly<Record<string, string>> = {};
