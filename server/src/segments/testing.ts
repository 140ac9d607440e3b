// A database with one user, and agents that enroll like real ones, for tests of features and routes.
import { randomUUID } from 'node:crypto';
import type { EnrollRequest, EnrollResponse, Segment } from '@opsconductor/protocol';
import {
  type CredentialSecret,
  decodeBase64,
  encodeBase64,
  enrollmentStatement,
  generateEncryptionKeyPair,
  generateSegmentKey,
  generateSigningKeyPair,
  type KeyPair,
  sealCredential,
  segmentKeyStatement,
  sign,
  wrapSegmentKey,
} from '@opsconductor/protocol/sealing';
import { Authority } from '../auth/authority.ts';
import { defaultIdentitySettings } from '../auth/identity-deps.ts';
import type { Caller } from '../caller.ts';
import { type MasterKey, newMasterKey } from '../credentials/at-rest/master-key.ts';
import type { CreateCredentialRequest } from '../credentials/edit-credentials.ts';
import { markWrapsOpened } from '../store/agents/segment-key-wraps.ts';
import type { Sql } from '../store/database/connection.ts';
import { borrowDatabase, type TestDatabase } from '../store/database/testing.ts';
import type { AsOf } from '../store/people/people.ts';
import { insertUser } from '../store/people/users.ts';
import { createSegment } from './create-segment.ts';
import { createEnrollmentToken } from './enrollment/create-enrollment-token.ts';
import { enrollAgent } from './enrollment/enroll-agent.ts';
import { offerSegmentKey } from './segment-keys/offer-segment-key.ts';
import { sealingKeyOf } from './segment-keys/sealing-key.ts';
import type { PinnedIdentity } from './segment-root.ts';

export const testOrigin = { address: '192.0.2.7', requestId: 'test-request' };

export interface TestInstallation {
  sql: Sql;
  masterKey: MasterKey;
  identity: PinnedIdentity;
  caller: Caller;
  close(): Promise<void>;
}

/** The time, and the limits of sessions, for lists that leave out what has expired. */
export const asOfNow = (): AsOf => ({ now: new Date(), session: defaultIdentitySettings.session });

const administrator = new Authority([{ role: 'admin', permission: null, scope: null }]);

/** @param database default: a borrowed one */
export async function setupInstallation(
  database: Promise<TestDatabase> = borrowDatabase(),
): Promise<TestInstallation> {
  const { sql, close } = await database;
  const userId = await insertUser(sql, 'ada', ['admin']);
  return {
    sql,
    masterKey: newMasterKey(),
    identity: { installationId: randomUUID(), serverKey: await generateSigningKeyPair() },
    caller: { userId, name: 'ada', authority: administrator, ...testOrigin },
    close,
  };
}

export function makeSegment(t: TestInstallation, name = 'dmz-1'): Promise<Segment> {
  return createSegment(t.sql, t.masterKey, { name }, t.caller);
}

export async function makeToken(t: TestInstallation, segmentId: number): Promise<string> {
  const deps = {
    sql: t.sql,
    publicUrl: 'https://ops.example.com',
    caPin: () => `sha256:${'ab'.repeat(32)}`,
    agentSha256: async () => 'cd'.repeat(32),
  };
  return (await createEnrollmentToken(deps, segmentId, t.caller)).token;
}

export interface AgentKeys {
  signing: KeyPair;
  encryption: KeyPair;
}

export async function makeAgentKeys(): Promise<AgentKeys> {
  return { signing: await generateSigningKeyPair(), encryption: await generateEncryptionKeyPair() };
}

/** Returns an enrollment request as an agent sends it. */
export async function enrollRequest(token: string, name: string, keys: AgentKeys): Promise<EnrollRequest> {
  const statement = enrollmentStatement({
    token,
    name,
    signingKey: keys.signing.publicKey,
    encryptionKey: keys.encryption.publicKey,
  });
  return {
    token,
    name,
    signingKey: encodeBase64(keys.signing.publicKey),
    encryptionKey: encodeBase64(keys.encryption.publicKey),
    signature: encodeBase64(await sign(keys.signing.privateKey, statement)),
    agentVersion: '0.1.0',
    platform: 'linux-x64',
  };
}

/** Returns the first agent's offer of a segment key that it made. */
export async function segmentKeyOffer(enrolled: EnrollResponse, keys: AgentKeys, segmentKey: KeyPair) {
  const { agentId, segmentId, installationId } = enrolled;
  const generation = 1;
  const wrapped = await wrapSegmentKey({
    segmentPrivateKey: segmentKey.privateKey,
    recipientPublicKey: keys.encryption.publicKey,
    binding: {
      installationId,
      segmentId,
      generation,
      recipient: agentId,
      segmentPublicKey: segmentKey.publicKey,
    },
  });
  const offer = {
    installationId,
    segmentId,
    agentId,
    generation,
    segmentPublicKey: segmentKey.publicKey,
    wrapped,
  };
  return {
    agentId,
    segmentPublicKey: encodeBase64(segmentKey.publicKey),
    wrapped,
    signature: encodeBase64(await sign(keys.signing.privateKey, segmentKeyStatement(offer))),
  };
}

/** Enrolls an agent that makes the segment's key and reports that it holds it. */
export async function makeFirstAgent(t: TestInstallation, segmentId: number, name = 'agent-a') {
  const keys = await makeAgentKeys();
  const token = await makeToken(t, segmentId);
  const enrolled = await enrollAgent(t, await enrollRequest(token, name, keys), testOrigin);
  const segmentKey = await generateSegmentKey();
  await offerSegmentKey(t, await segmentKeyOffer(enrolled, keys, segmentKey), testOrigin);
  await markWrapsOpened(t.sql, enrolled.agentId, [1]);
  return { enrolled, keys, segmentKey, token };
}

/** Returns a further generation of the segment key, as the agent that makes it offers it. */
export async function generationOffer(
  { installationId }: { installationId: string },
  agent: { enrolled: EnrollResponse; keys: AgentKeys },
  generation: number,
) {
  const { privateKey, publicKey } = await generateSegmentKey();
  const { agentId, segmentId } = agent.enrolled;
  const binding = { installationId, segmentId, generation, segmentPublicKey: publicKey };
  const wrapped = await wrapSegmentKey({
    segmentPrivateKey: privateKey,
    recipientPublicKey: agent.keys.encryption.publicKey,
    binding: { ...binding, recipient: agentId },
  });
  const statement = segmentKeyStatement({ ...binding, agentId, wrapped });
  const signature = encodeBase64(await sign(agent.keys.signing.privateKey, statement));
  return { generation, segmentPublicKey: encodeBase64(publicKey), wrapped, signature };
}

export const testSecret: CredentialSecret = {
  kind: 'ssh_password',
  user: 'deploy',
  password: 'correct horse battery staple',
  bounds: {
    hosts: ['*'],
    networks: [],
    ports: [22],
    protocols: ['ssh'],
    user: 'deploy',
    authentication: ['password'],
  },
};

/** Returns a credential as the console sends it: sealed to the segment's current key. */
export async function sealedCredentialRequest(
  t: TestInstallation,
  segmentId: number,
  name = 'deploy',
  { id = randomUUID(), version = 1 }: { id?: string; version?: number } = {},
): Promise<CreateCredentialRequest> {
  const key = await sealingKeyOf(t.sql, t.identity.installationId, segmentId, t.caller);
  const sealed = await sealCredential({
    segmentPublicKey: decodeBase64(key.publicKey),
    binding: {
      installationId: key.installationId,
      credentialId: id,
      version,
      kind: testSecret.kind,
      segmentId,
      generation: key.generation,
    },
    secret: testSecret,
  });
  return { id, segmentId, name, kind: testSecret.kind, sealed };
}

/**
 * How long the session of a test's agent lasts without a heartbeat, in ms: longer than a test takes on a machine that is
 * slow. A test of expiry sets its own.
 */
export const testSessionMs = 600_000;

/** Gives an agent a session, as the gateway does when it connects. */
export async function openSession(
  t: TestInstallation,
  agentId: number,
  session: { expiresInS?: number; draining?: boolean } = {},
): Promise<void> {
  await t.sql`update agents set session_number = session_number + 1 where id = ${agentId}`;
  await t.sql`
    insert into agent_sessions (agent_id, session_number, server_id, slots, draining, ready, expires_at)
    select id, session_number, gen_random_uuid(), 8, ${session.draining ?? false}, true,
           clock_timestamp() + ${session.expiresInS ?? testSessionMs / 1_000} * interval '1 second'
      from agents where id = ${agentId}
    on conflict (agent_id) do update
       set session_number = excluded.session_number, draining = excluded.draining, expires_at = excluded.expires_at,
           disconnected_at = null, clean_shutdown = false, connected_at = clock_timestamp(),
           last_heartbeat_at = clock_timestamp()`;
}

/** Resolves once this many connections to this test's database wait for a lock; fails if they never do. */
export async function waitUntilBlocked({ sql }: TestInstallation, count: number): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const [row] = await sql<{ blocked: number }[]>`
      select count(*)::int as blocked from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock'`;
    if (row?.blocked === count) return;
    if (Date.now() > deadline) throw new Error(`${row?.blocked} connections wait for a lock, not ${count}`);
  }
}
