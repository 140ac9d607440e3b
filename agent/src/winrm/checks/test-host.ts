// Checks a WinRM host outside of any command: whether it can be reached, logged in to and used, and has the PowerShell
// that steps need.
import { powershellInput } from '@opsconductor/protocol';
import { runCommand } from '../commands/run-command.ts';
import type { ConnectionSource } from '../connection/pool.ts';
import { namespaces } from '../messages/namespaces.ts';
import { readReply } from '../messages/replies.ts';
import { identifyMessage } from '../messages/soap.ts';
import { childOf } from '../messages/xml.ts';
import { ClixmlDecoder } from '../powershell/clixml.ts';
import { powershellLine } from '../powershell/powershell.ts';
import { WinrmError } from '../winrm-error.ts';

export interface TestedHost {
  /** Version of Windows and WinRM, as the host reports it. */
  product: string;
  powershell: string;
}

/** The script that asks the host for its version. */
export const versionQuestion = '[string]$PSVersionTable.PSVersion';
const idleTimeoutS = 60;
/** More of its output than this is of no interest. */
const maxSaidBytes = 8_192;

/**
 * Logs in, asks what the host is, and runs a script that changes nothing, in the way steps run theirs. That takes the
 * right to use WinRM, room for a shell of the user, and PowerShell in its full language mode.
 *
 * @throws {WinrmError} for the first thing that stands in the way; the signal's reason.
 */
export async function testHost(connections: ConnectionSource, signal: AbortSignal): Promise<TestedHost> {
  return { product: await identify(connections, signal), powershell: await askVersion(connections, signal) };
}

/**
 * Logs in, and returns the host's version.
 *
 * @throws {WinrmError} or the signal's reason.
 */
export async function identify(connections: ConnectionSource, signal: AbortSignal): Promise<string> {
  const connection = connections.connect();
  try {
    const reply = readReply(await connection.request(identifyMessage(), { signal }));
    const identified = childOf(reply, namespaces.identity, 'IdentifyResponse');
    return childOf(identified, namespaces.identity, 'ProductVersion')?.text.trim() ?? '';
  } finally {
    connections.release(connection);
  }
}

/**
 * Returns PowerShell's version, by running a script.
 *
 * @throws {WinrmError} or the signal's reason.
 */
export async function askVersion(connections: ConnectionSource, signal: AbortSignal): Promise<string> {
  const said = { stdout: '', stderr: '' };
  const errors = new ClixmlDecoder();
  const end = await runCommand({
    connections,
    settings: { environment: {}, workingDirectory: undefined, idleTimeoutS },
    line: powershellLine('powershell'),
    input: Buffer.from(powershellInput(versionQuestion, [])),
    onOutput: (stream, bytes) => {
      if (said[stream].length > maxSaidBytes) return;
      said[stream] += stream === 'stdout' ? bytes.toString('utf8') : errors.write(bytes);
    },
    signal,
    killGraceMs: () => 0,
  });
  if (end.how === 'lost') throw end.error;
  if (end.how === 'stopped') throw signal.reason;
  const version = /^\d+(\.\d+){1,3}$/.exec(said.stdout.trim())?.[0];
  if (end.exitCode === 0 && version !== undefined) return version;
  throw withoutPowershell(end.exitCode, `${said.stderr}${errors.end()} ${said.stdout}`);
}

function withoutPowershell(exitCode: number | undefined, said: string): WinrmError {
  const words = said.replaceAll(/\s+/g, ' ').trim().slice(0, 500) || 'nothing.';
  return new WinrmError({
    kind: 'no_powershell',
    message: `The host creates shells for the user, but PowerShell does not run in them as steps need it. It ended with exit code ${exitCode ?? 'unknown'} and said: ${words}`,
    advice:
      'Install Windows PowerShell 5.1 on the host. If AppLocker or WDAC restrict it to the constrained language mode, allow this user the full one.',
  });
}
