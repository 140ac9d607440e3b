import { EventEmitter } from 'node:events';
import type { Lease, ServerMessage } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import type { ClaimedStep } from '../store/queue/claims.ts';
import { AgentLink, type LinkDeps } from './agent-link.ts';

/** The server's end of a connection, with what was sent on it. */
function openLink() {
  const sent: ServerMessage[] = [];
  const socket = Object.assign(new EventEmitter(), {
    OPEN: 1,
    readyState: 1,
    send: (text: string) => sent.push(JSON.parse(text) as ServerMessage),
  });
  const stream = { cork: () => {}, uncork: () => {} };
  const agent = { agentId: 1, name: 'first', segmentId: 1, sessionNumber: 7, address: '127.0.0.1' };
  return { link: new AgentLink({} as LinkDeps, socket as unknown as WebSocket, agent, stream), sent };
}

test('an agent hears nothing before its journal is answered, and then what was said meanwhile', () => {
  const { link, sent } = openLink();
  // Its session is ready for claims as soon as that is committed, which is before anybody here knows.
  link.lease([{ claimed: { id: 3, epoch: 1 } as ClaimedStep, lease: { step: 3, epoch: 1 } as Lease }]);
  link.send({ type: 'cancel', step: 3, epoch: 1 });
  expect(sent).toEqual([]);
  link.ready({ type: 'resumed', attempts: [] });
  expect(sent.map(({ type }) => type)).toEqual(['resumed', 'leases', 'cancel']);
  link.send({ type: 'heartbeat_ack', sequence: 1 });
  expect(sent).toHaveLength(4);
});
