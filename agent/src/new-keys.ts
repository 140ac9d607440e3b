// `opsconductor-agent new-keys`: an agent that runs takes them up by its next heartbeat, another when it starts.
import { dataDirectory } from './identity/data-directory.ts';
import { readIdentity } from './identity/identity.ts';
import { makeNextKeys } from './identity/next-keys.ts';

/** @returns what is so now, for a person. @throws {AgentError} where there is no agent. */
export async function newKeys(dataDir: string): Promise<string> {
  const data = dataDirectory(dataDir);
  const { agentName, segmentName } = await readIdentity(data);
  const isNew = await makeNextKeys(data);
  const first = isNew
    ? `New keys of agent ${agentName} of segment ${segmentName} were made.`
    : `Agent ${agentName} of segment ${segmentName} has new keys already that are not in use yet.`;
  return `${first} They take the place of those it has when it is connected; where an owner holds the segment’s root, when that owner has signed them. Until then those it has serve.`;
}
