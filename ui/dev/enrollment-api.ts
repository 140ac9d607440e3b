// The mock API for adding an agent: the token, the commands and the agent that then appears, and tokens not used.
import type { Agent, EnrollmentTokenReply, PendingEnrollmentToken } from '@opsconductor/protocol';
import { agents, segments } from './fixtures.ts';

/** The segment that the last token is for. */
let segmentId = 1;

const inMinutes = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString();
/** The fixtures' are in segment 1. Token 9 is used by an agent as soon as somebody wants to revoke it. */
let unused: (PendingEnrollmentToken & { segmentId: number })[] = (
  [
    ['c.marchetti', 14, null],
    ['a.okafor', 26, 'maker_lost_right'],
    ['b.lindqvist', 31, 'maker_deactivated'],
    [null, 52, 'maker_deleted'],
  ] as const
).map(([createdBy, minutes, admitsNobody], at) => ({
  ...{ id: 12 - at, segmentId: 1, createdBy, admitsNobody },
  createdAt: inMinutes(-minutes),
  expiresAt: inMinutes(60 - minutes),
  madeWith: {
    ...{ kind: 'api_token' as const, id: 1, user: createdBy, name: 'provisioning' },
    ...{ begunAt: null, hasEnded: at > 1 },
  },
}));

export function unusedTokens(ofSegment: number): PendingEnrollmentToken[] {
  return unused.filter((one) => one.segmentId === ofSegment);
}

/** Returns false if an agent has used it. */
export function revokeToken(id: number): boolean {
  unused = unused.filter((one) => one.id !== id);
  return id !== 9;
}

/** Makes a token; with `soon`, it expires in a moment. */
export function enrollmentToken(forSegment: number, soon: boolean): EnrollmentTokenReply {
  segmentId = forSegment;
  const server = 'https://ops.example.net:7700';
  const sha256 = 'a83e6b1f0c9e47d29b1d0f2c7e5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a';
  const id = Math.max(12, ...unused.map((one) => one.id)) + 1;
  const expiresAt = new Date(Date.now() + (soon ? 1_500 : 3_500_000)).toISOString();
  const createdAt = new Date().toISOString();
  unused = [{ id, segmentId, createdBy: 'admin', admitsNobody: null, createdAt, expiresAt }, ...unused];
  return {
    id,
    token: 'oce_3mWk0tE7yXn5sJc2LhUoPdA8fGi4RvTz6MwQq3Zr9Vb1',
    expiresAt,
    steps: [
      {
        title:
          'Fetch the agent and check it. The machine needs Node.js 20.19 or newer, or the executable that “npm run package:agent” makes.',
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
