// Finds out how large messages to a host may be. Until the host says so, they are as small as the oldest hosts require.
import { defaultMaxEnvelopeBytes, type WinrmConnection } from '../connection/connection.ts';
import { namespaces } from '../messages/namespaces.ts';
import { readReply } from '../messages/replies.ts';
import { configurationMessage } from '../messages/soap.ts';
import { childOf } from '../messages/xml.ts';
import { WinrmError } from '../winrm-error.ts';
import { addressingOf } from './shell.ts';

/** The default of Windows since 2012; more would only take memory. */
const mostBytes = 512_000;

/**
 * Asks the host, and makes the connection use the answer. Only administrators get one; for others messages stay small.
 *
 * @throws {WinrmError} if the host can't be reached.
 */
export async function learnEnvelopeSize(connection: WinrmConnection, signal?: AbortSignal): Promise<void> {
  if (connection.maxEnvelopeBytes !== defaultMaxEnvelopeBytes) return;
  const message = configurationMessage(addressingOf(connection));
  const reply = await connection.request(message, { signal });
  try {
    const config = childOf(readReply(reply), namespaces.config, 'Config');
    const kibibytes = Number(childOf(config, namespaces.config, 'MaxEnvelopeSizekb')?.text);
    if (kibibytes >= 1) connection.maxEnvelopeBytes = Math.min(mostBytes, kibibytes * 1_024);
  } catch (error) {
    if (!(error instanceof WinrmError)) throw error;
  }
}
