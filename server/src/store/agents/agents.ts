import type { Labels } from '@opsconductor/protocol';
import type { Queryable, Tx } from '../database/connection.ts';

export interface AgentRow {
  id: number;
  segmentId: number;
  name: string;
  signingKey: Buffer;
  encryptionKey: Buffer;
  state: 'active' | 'disabled' | 'quarantined' | 'revoked';
  sessionNumber: number;
  drainRequestedAt: Date | null;
  labels: Labels;
  /** Since when the agent should make new keys of its own. */
  newKeysWantedAt: Date | null;
}

const columns = [
  'id',
  'segment_id',
  'name',
  'signing_key',
  'encryption_key',
  'state',
  'session_number',
  'drain_requested_at',
  'labels',
  'new_keys_wanted_at',
];

export async function insertAgent(
  tx: Tx,
  agent: {
    segmentId: number;
    name: string;
    signingKey: Uint8Array;
    encryptionKey: Uint8Array;
    version: string;
    platform: string;
    address: string;
  },
): Promise<number> {
  const [row] = await tx<{ id: number }[]>`
    insert into agents ${tx(agent, 'segmentId', 'name', 'signingKey', 'encryptionKey', 'version', 'platform', 'address')}
    returning id`;
  if (row === undefined) throw new Error('insert returned nothing');
  return row.id;
}

/** Returns an agent in any state, also a revoked one. */
export async function findAgent(sql: Queryable, id: number): Promise<AgentRow | undefined> {
  const [row] = await sql<AgentRow[]>`select ${sql(columns)} from agents where id = ${id}`;
  return row;
}

/** Returns the agent with its segment's name, regardless of who asks. */
export async function findAgentWithSegment(
  sql: Queryable,
  id: number,
): Promise<(AgentRow & { segmentName: string }) | undefined> {
  const [row] = await sql<(AgentRow & { segmentName: string })[]>`
    select ${sql(columns.map((column) => `a.${column}`))}, sg.name as segment_name
      from agents a join segments sg on sg.id = a.segment_id where a.id = ${id}`;
  return row;
}

/** Returns all agents of a segment in any state, by id. */
export async function listSegmentAgents(sql: Queryable, segmentId: number): Promise<AgentRow[]> {
  return sql<AgentRow[]>`select ${sql(columns)} from agents where segment_id = ${segmentId} order by id`;
}
