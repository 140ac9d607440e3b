// `opsconductor-agent new-keys`: a running agent takes them up at its next heartbeat, any other when it starts.
import { dataDirectory } from '../identity/data-directory.ts';
import { readIdentity } from '../identity/identity.ts';
import { makeNextKeys } from '../identity/next-keys.ts';

/**
 * @returns the resulting state, in words for a person.
 * @throws {AgentError} if there is no agent.
 */
export async function newKeys(dataDir: string): Promise<string> {
  const data = dataDirectory(dataDir);
  const { agentName, segmentName } = await readIdentity(data);
  const isNew = await makeNextKeys(data);
  const first = isNew
    ? `New keys of agent ${agentName} of segment ${segmentName} were made.`
    : `Agent ${agentName} of segment ${segmentName} already has new keys that are not in use yet.`;
  return `${first} They replace its current keys once it is connected, or, if an owner holds the segment’s root, once that owner has signed them. Until then the current keys are used.`;
}
