// Wording of the step form that no schema has: what each choice leads to.
import { limits } from '@opsconductor/protocol';
import { longDuration } from '../../format/duration.ts';
import type { FieldSchema } from '../fields/field-kinds.ts';

/** What happens after an attempt whose outcome is unknown. */
export function unknownWords(onUnknown: unknown, holdFor: unknown): string {
  const waits = longDuration((typeof holdFor === 'number' ? holdFor : limits.holdForS) * 1000);
  if (onUnknown === 'hold') return `Waits up to ${waits} for a person.`;
  if (onUnknown === 'retry') return 'Runs it again.';
  return 'Ends the step unknown; nothing is run twice.';
}

export const whenWords: Record<string, string> = {
  success: 'When all steps before it succeeded.',
  failure: 'When one before it failed, timed out or was cancelled.',
  always: 'In either case: to clean up.',
};

/** Returns a new step of a type. */
export function newStep(
  type: string,
  schema: FieldSchema | undefined,
  names: readonly string[],
): Record<string, unknown> {
  let number = names.length + 1;
  while (names.includes(`step ${number}`)) number += 1;
  return { name: `step ${number}`, type, config: newConfig(type, schema) };
}

function newConfig(type: string, schema: FieldSchema | undefined): Record<string, unknown> {
  if (type === 'reboot') return { become: {} };
  if (type === 'wait_for') return { port: 22 };
  const { command, local_path: local, remote_path: remote } = schema?.properties ?? {};
  if (command !== undefined) return { command: type.startsWith('winrm') ? 'Get-Date' : 'true' };
  if (local === undefined || remote === undefined) return {};
  const remotePath = type === 'winrm.copy' ? 'C:\\Temp\\example' : '/tmp/example';
  // Of the two sources, the one that needs nothing on the agent's machine.
  if (type !== 'sftp.download' && schema?.properties?.file !== undefined)
    return { file: 'example', remote_path: remotePath };
  const paths = { local_path: '/srv/files/example', remote_path: remotePath };
  return type === 'sftp.download' ? { remote_path: paths.remote_path, local_path: paths.local_path } : paths;
}

/** Fields of which the label alone doesn't say what to write. */
export const hinted = ['command', 'shell', 'local_path', 'file'];

/** Fields that most steps have; the others are folded away. */
export const commonConfig = [
  'command',
  'shell',
  'interpreter',
  'stdin',
  'port',
  'state',
  'seconds',
  'interval',
  'become',
  'local_path',
  'file',
  'remote_path',
  'artifact',
  'direction',
  'timeout',
  'working_directory',
  'environment',
  'expected_exit_codes',
  'create_directories',
  'overwrite',
  'delete',
  'dry_run',
];
