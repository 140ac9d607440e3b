// `opsconductor-agent use-server`: the server has another address, or a certificate of another CA.
import { rm } from 'node:fs/promises';
import { limits } from '@opsconductor/protocol';
import { AgentError } from '../agent-error.ts';
import { MessageSocket } from '../connection/message-socket.ts';
import { type SocketOptions, socketOpener } from '../connection/open-socket.ts';
import type { ProxySettings } from '../connection/proxy.ts';
import { establishTrust, parseServerUrl } from '../enrollment/server-trust.ts';
import { explainReachError } from '../explain-error.ts';
import { dataDirectory } from '../identity/data-directory.ts';
import { lockDirectory } from '../identity/directory-lock.ts';
import { readIfExists, writeDurably } from '../identity/durable-file.ts';
import { readIdentity, readPublicIdentity, saveIdentity } from '../identity/identity.ts';

export interface UseServerOptions {
  dataDir: string;
  /** By default, the address stays as it is. */
  server?: string | undefined;
  caPin?: string | undefined;
  caFile?: string | undefined;
  /** Whether the system's CAs are trusted, as after an enrollment that named none. */
  systemCas: boolean;
  proxy: ProxySettings;
}

/**
 * Changes where an enrolled agent finds its server, and whose certificates it trusts there. Its identity and its keys
 * stay, and so does the server's key, by which it will check who answers. If it is interrupted, it can be run again.
 *
 * @returns what is so now, in words for a person.
 * @throws {AgentError} if there is no agent, if it runs, or if its server is not there.
 */
export async function useServer(options: UseServerOptions): Promise<string> {
  const { dataDir, caPin, caFile, systemCas, proxy } = options;
  const isNamed = caPin !== undefined || caFile !== undefined;
  if (isNamed && systemCas) {
    throw new AgentError(
      '--system-cas goes with neither --ca-pin nor --ca-file.',
      'Name one CA, or trust those of this system.',
    );
  }
  const data = dataDirectory(dataDir);
  const { installationId } = await readIdentity(data);
  const lock = await lockDirectory(data.lock);
  try {
    const identity = await readPublicIdentity(data);
    if (identity === undefined) throw new Error(`${data.identity} was removed meanwhile`);
    const server = parseServerUrl(options.server ?? identity.server);
    const isKept = !isNamed && !systemCas && server.protocol === 'https:';
    const ca = isKept
      ? (await readIfExists(data.ca))?.toString('utf8')
      : await establishTrust({ server, caPin, tokenPin: undefined, caFile, proxy });
    await checkInstallation({ server: server.origin, ca, proxy }, installationId);
    if (ca === undefined) await rm(data.ca, { force: true });
    else await writeDurably(data.ca, ca);
    await saveIdentity(data, { ...identity, server: server.origin });
    const trusted = ca === undefined ? "the system's CAs" : 'its pinned CA';
    const trust = server.protocol === 'https:' ? `, and trusts ${trusted} there` : '';
    return `Agent ${identity.agentName} of segment ${identity.segmentName} finds its server at ${server.origin} from now on${trust}. Start it again.`;
  } finally {
    await lock.release();
  }
}

/** What the server says about itself here it proves to the agent when that connects. */
async function checkInstallation(access: SocketOptions, installationId: string): Promise<void> {
  const socket = new MessageSocket(socketOpener(access)());
  try {
    await socket.opened;
    const { handshakePatienceMs: timeoutMs, maxHandshakeFrameBytes: maxBytes } = limits;
    const challenge = await socket.next({ timeoutMs, maxBytes });
    if (challenge.type === 'challenge' && challenge.installationId === installationId) return;
  } catch (error) {
    throw explainReachError(error, access.server, access.proxy);
  } finally {
    socket.terminate();
  }
  throw new AgentError(
    `${access.server} is another installation than the one that this agent belongs to.`,
    'Check the address. To make this machine an agent of that installation, enroll it there with a data directory of its own.',
  );
}
