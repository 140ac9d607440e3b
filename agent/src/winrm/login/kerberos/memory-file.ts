import { closeSync, writeSync } from 'node:fs';
import type koffiModule from 'koffi';
import { WinrmError } from '../../winrm-error.ts';
import { kerberosUnusable } from './gss-failure.ts';

/** Closed in child processes. */
const closeOnExec = 1;

/**
 * Opens a file that exists only in memory, for a library that accepts only a path: a keytab is as good as a password
 * and must not be on a disk.
 *
 * @throws {WinrmError} of kind `auth_unavailable` if the system has no such files.
 */
export function openMemoryFile(
  koffi: typeof koffiModule,
  content: Buffer,
): { path: string; close: () => void } {
  if (process.platform !== 'linux') {
    throw new WinrmError({
      kind: 'auth_unavailable',
      message: 'This agent can log in with a keytab on Linux only.',
      advice: 'Use a password or a ticket cache, or run the agent on Linux.',
      notExecuted: true,
    });
  }
  try {
    const create = koffi.load(null).func('memfd_create', 'int', ['str', 'uint32_t']);
    const fd = create('opsconductor', closeOnExec) as number;
    if (fd < 0) throw new Error('the system gave no file in memory for the keytab');
    const close = () => closeSync(fd);
    try {
      writeSync(fd, content);
    } catch (error) {
      close();
      throw error;
    }
    return { path: `/proc/self/fd/${fd}`, close };
  } catch (error) {
    throw kerberosUnusable(error);
  }
}
