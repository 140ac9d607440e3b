// A look at a WinRM host outside of any command: whether it can be reached, logged in to and used.

import { WinrmShell } from '../commands/shell.ts';
import type { WinrmConnection } from '../connection/connection.ts';
import { namespaces } from '../messages/namespaces.ts';
import { readReply } from '../messages/replies.ts';
import { identifyMessage } from '../messages/soap.ts';
import { childOf } from '../messages/xml.ts';

/**
 * Logs in, asks what the host is, and makes and removes a shell, which takes the right to use WinRM and a free place.
 *
 * @returns the host's version of Windows and WinRM, as it gives it. @throws {WinrmError}
 */
export async function testHost(connection: WinrmConnection, signal?: AbortSignal): Promise<string> {
  const reply = readReply(await connection.request(identifyMessage(), { signal }));
  const identified = childOf(reply, namespaces.identity, 'IdentifyResponse');
  const shell = await WinrmShell.create(
    connection,
    { environment: {}, workingDirectory: undefined, idleTimeoutS: 60 },
    signal,
  );
  await shell.delete(connection, signal);
  return childOf(identified, namespaces.identity, 'ProductVersion')?.text.trim() ?? '';
}
