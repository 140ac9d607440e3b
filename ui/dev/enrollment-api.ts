// The mock API for adding an agent: the token, the commands and the agent that then appears.
import type { Agent, EnrollmentTokenReply } from '@opsconductor/protocol';
import { agents, segments } from './fixtures.ts';

/** The segment that the last token is for. */
let segmentId = 1;

/** Makes a token; with `soon`, it expires in a moment. */
export function enrollmentToken(forSegment: number, soon: boolean): EnrollmentTokenReply {
  segmentId = forSegment;
  const server = 'https://ops.example.net:7700';
  const sha256 = 'a83e6b1f0c9e47d29b1d0f2c7e5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a';
  return {
    id: 1,
    token: 'oce_3mWk0tE7yXn5sJc2LhUoPdA8fGi4RvTz6MwQq3Zr9Vb1',
    expiresAt: new Date(Date.now() + (soon ? 1_500 : 3_500_000)).toISOString(),
    steps: [
      {
        title: 'Fetch the agent and check it. The machine needs Node.js 20.19 or newer.',
        command: `curl -fsSLk -o agent.mjs.new '${server}/agent.mjs' && echo '${sha256}  agent.mjs.new' | sha256sum -c - && mv agent.mjs.new agent.mjs`,
        takesToken: false,
      },
      {
        title: 'Run this, paste the token, press Enter',
        command: '(umask 077; rm -f enrollment-token; head -n 1 > enrollment-token)',
        takesToken: true,
      },
      {
        title: 'Enroll this machine',
        command: `node agent.mjs enroll --server '${server}' --token-file enrollment-token`,
        takesToken: false,
      },
      { title: 'Start the agent', command: 'node agent.mjs run', takesToken: false },
    ],
  };
}

/** The agents, and with `stage` one that was enrolled just now. */
export function agentsWith(stage: 'enrolled' | 'connected' | undefined): Agent[] {
  const [first] = agents;
  if (first === undefined || stage === undefined) return agents;
  const isConnected = stage === 'connected';
  const segmentName = segments.find(({ id }) => id === segmentId)?.name ?? '';
  const name = `${segmentName}-new`;
  const arrived: Agent = {
    ...first,
    id: agents.length + 1,
    name,
    hostname: name,
    address: '10.20.4.13',
    segmentId,
    segmentName,
    state: isConnected ? 'connected' : 'offline',
    since: null,
    lastHeartbeatAt: isConnected ? new Date().toISOString() : null,
    slotsInUse: 0,
    hasSegmentKey: isConnected,
    labels: {},
    enrolledAt: new Date().toISOString(),
  };
  return [...agents, arrived];
}
