// How large messages to a host may be. Without its word they are as small as the oldest hosts take them.
import { defaultMaxEnvelopeBytes, type WinrmConnection } from '../connection/connection.ts';
import { namespaces } from '../messages/namespaces.ts';
import { readReply } from '../messages/replies.ts';
import { configurationMessage } from '../messages/soap.ts';
import { childOf } from '../messages/xml.ts';
import { WinrmError } from '../winrm-error.ts';
import { addressingOf } from './shell.ts';

/** What Windows has had since 2012; more would only take memory. */
const mostBytes = 512_000;

/**
 * Asks the host, and has the connection use what it says. A host tells administrators; to others messages stay small.
 *
 * @throws {WinrmError} where the host is not to be had.
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
