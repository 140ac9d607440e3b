import {
  encodeBase64,
  generateSigningKeyPair,
  type Roster,
  signRoster,
  verifyRoster,
} from '@opsconductor/protocol/sealing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createLog, type Log } from '../log.ts';
import { markRestored } from '../restore/mark-restored.ts';
import { findSegment } from '../store/agents/segments.ts';
import { insertInstallation } from '../store/installation/installation.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { revokeAgent } from './agents/revoke-agent.ts';
import { createSegment } from './create-segment.ts';
import { enrollAgent } from './enrollment/enroll-agent.ts';
import { getSegment } from './list-segments.ts';
import { readRoster } from './owner-held/read-roster.ts';
import { openRoot, sealRoot } from './segment-root.ts';
import { signRaisedRosters } from './sign-raised-rosters.ts';
import {
  enrollRequest,
  makeAgentKeys,
  makeFirstAgent,
  makeSegment,
  makeToken,
  setupInstallation,
  type TestInstallation,
  testOrigin,
} from './testing.ts';

let t: TestInstallation;
let deps: TestInstallation & { installationId: string; log: Log };
const logged: string[] = [];
beforeAll(async () => {
  t = await setupInstallation();
  const destination = { write: (line: string) => logged.push(line) };
  const log = createLog({ level: 'error', destination, plain: false });
  deps = { ...t, log, installationId: t.identity.installationId };
  await insertInstallation(t.sql, {
    id: t.identity.installationId,
    masterKeyId: t.masterKey.id,
    serverKey: Buffer.alloc(32),
    serverKeySealed: Buffer.from('sealed'),
  });
});
afterAll(() => t.close());

async function rowOf(segmentId: number) {
  const row = await findSegment(t.sql, segmentId);
  if (row === undefined || row.rosterPayload === null || row.rosterSignature === null)
    throw new Error('no roster');
  const signed = { payload: row.rosterPayload, signature: row.rosterSignature };
  return { ...row, signed, roster: JSON.parse(signed.payload) as Roster };
}

test('after a restore, agents that have seen newer rosters accept the one that a starting server signs', async () => {
  const segment = await makeSegment(t, 'restored');
  await makeFirstAgent(t, segment.id, 'restored-a');
  const copy = await rowOf(segment.id);
  const second = await enrollAgent(
    t,
    await enrollRequest(await makeToken(t, segment.id), 'restored-b', await makeAgentKeys()),
    testOrigin,
  );
  await revokeAgent(deps, second.agentId, t.caller);
  const seen = await rowOf(segment.id);
  expect(seen.roster.number).toBeGreaterThan(copy.roster.number + 1);
  await t.sql`
    update segments set roster_number = ${copy.roster.number}, roster_payload = ${copy.signed.payload},
      roster_signature = ${copy.signed.signature} where id = ${segment.id}`;
  await markRestored(t.sql);
  // Several servers start at once.
  await Promise.all([signRaisedRosters(deps), signRaisedRosters(deps)]);
  const after = await rowOf(segment.id);
  const expected = {
    installationId: deps.installationId,
    segmentId: segment.id,
    minNumber: seen.roster.number,
    heldPayload: seen.signed.payload,
  };
  expect(await verifyRoster(after.rootKey, after.signed, expected)).toMatchObject({
    agents: [{ name: 'restored-a' }],
    number: after.rosterNumber,
  });
  await signRaisedRosters(deps);
  expect((await rowOf(segment.id)).rosterNumber).toBe(after.rosterNumber);
});

test('restoring the same backup again gives higher roster numbers than the first restore', async () => {
  const segment = await makeSegment(t, 'twice');
  await makeFirstAgent(t, segment.id, 'twice-a');
  const { rosterNumber } = await rowOf(segment.id);
  const numbers: number[] = [];
  for (const at of ['2026-11-28T09:00:00Z', '2026-11-28T09:10:00Z']) {
    await t.sql`update segments set roster_number = ${rosterNumber} where id = ${segment.id}`;
    await markRestored(t.sql, new Date(at));
    await signRaisedRosters(deps);
    numbers.push((await rowOf(segment.id)).roster.number);
  }
  expect((numbers[1] ?? 0) - (numbers[0] ?? 0)).toBe(600);
});

test('an owner’s roster is left to its owner; the segment says which number its agents have seen', async () => {
  const root = await generateSigningKeyPair();
  const ownerRoot = encodeBase64(root.publicKey);
  const segment = await createSegment(t.sql, t.masterKey, { name: 'owned-restored', ownerRoot }, t.caller);
  const agent = await enrollAgent(
    t,
    await enrollRequest(await makeToken(t, segment.id), 'owned-restored-a', await makeAgentKeys()),
    testOrigin,
  );
  await t.sql`update segments set roster_number = 4 where id = ${segment.id}`;
  await markRestored(t.sql);
  await signRaisedRosters(deps);
  expect((await findSegment(t.sql, segment.id))?.rosterNumber).toBe(4);
  expect(await getSegment(t.sql, segment.id, unrestricted)).toMatchObject({ lostRoster: null });
  await t.sql`
    insert into agent_sessions (agent_id, session_number, server_id, slots, expires_at, roster_number)
    values (${agent.agentId}, 1, gen_random_uuid(), 1, now(), 6)`;
  const lost = { agents: [{ name: 'owned-restored-a', rosterNumber: 6 }] };
  expect(await getSegment(t.sql, segment.id, unrestricted)).toMatchObject({ lostRoster: lost });
  expect(await readRoster(t.sql, deps.installationId, segment.id, t.caller)).toMatchObject({
    seenNewer: lost.agents,
  });
  await t.sql`update segments set roster_number = 6 where id = ${segment.id}`;
  expect(await getSegment(t.sql, segment.id, unrestricted)).toMatchObject({ lostRoster: null });
});

/** Raises the number, as anyone with write access to the database can. */
async function raise(segmentId: number): Promise<number> {
  const [row] = await t.sql<{ rosterNumber: number }[]>`
    update segments set roster_number = roster_number + 10 where id = ${segmentId} returning roster_number`;
  return row?.rosterNumber ?? 0;
}

test('write access to the database can make no start sign an agent or a key that the root has not signed', async () => {
  const segment = await makeSegment(t, 'attacked');
  const { enrolled } = await makeFirstAgent(t, segment.id, 'attacked-a');
  const before = await rowOf(segment.id);
  const keys = await makeAgentKeys();
  await t.sql`
    insert into agents (segment_id, name, state, version, platform, signing_key, encryption_key)
    select segment_id, 'intruder', state, version, platform, ${Buffer.from(keys.signing.publicKey)}, ${Buffer.from(keys.encryption.publicKey)}
      from agents where id = ${enrolled.agentId}`;
  await t.sql`
    insert into segment_keys (segment_id, generation, public_key)
    values (${segment.id}, 2, ${Buffer.from(keys.encryption.publicKey)})`;
  const number = await raise(segment.id);
  await signRaisedRosters(deps);
  expect((await rowOf(segment.id)).roster).toEqual({ ...before.roster, number });
});

test('no start signs what another root has signed, whatever root the database names', async () => {
  const segment = await makeSegment(t, 'swapped');
  await makeFirstAgent(t, segment.id, 'swapped-a');
  const before = await rowOf(segment.id);
  const root = await generateSigningKeyPair();
  const forged = await signRoster(root.privateKey, { ...before.roster, agents: [] });
  await t.sql`
    update segments set root_key = ${Buffer.from(root.publicKey)}, roster_payload = ${forged.payload},
      roster_signature = ${forged.signature} where id = ${segment.id}`;
  await raise(segment.id);
  await signRaisedRosters(deps);
  expect((await rowOf(segment.id)).signed).toEqual(forged);
});

test('a segment whose roster can not be signed does not hold up others, and the log says what to do', async () => {
  const broken = await makeSegment(t, 'broken');
  await makeFirstAgent(t, broken.id, 'broken-a');
  const segment = await makeSegment(t, 'after-broken');
  await makeFirstAgent(t, segment.id, 'after-broken-a');
  await t.sql`update segments set roster_payload = 'not a roster' where id = ${broken.id}`;
  await raise(broken.id);
  const number = await raise(segment.id);
  logged.length = 0;
  await signRaisedRosters(deps);
  expect((await rowOf(segment.id)).roster).toMatchObject({ number, agents: [{ name: 'after-broken-a' }] });
  const ofBroken = logged.filter((line) => line.includes('"segment":"broken"'));
  expect(ofBroken).toEqual([
    expect.stringMatching(/not signed by the root.*check that its agents are the ones/),
  ]);
});

test('one that the database refuses to store is logged, and the others are signed', async () => {
  const refused = await makeSegment(t, 'refused');
  await makeFirstAgent(t, refused.id, 'refused-a');
  const segment = await makeSegment(t, 'after-refused');
  await makeFirstAgent(t, segment.id, 'after-refused-a');
  await raise(refused.id);
  const number = await raise(segment.id);
  await t.sql.unsafe(`
    create function refuse() returns trigger language plpgsql as $$ begin raise 'refused here'; end $$;
    create trigger refuse before update on segments for each row when (old.id = ${refused.id}) execute function refuse()`);
  logged.length = 0;
  try {
    await signRaisedRosters(deps);
  } finally {
    await t.sql.unsafe('drop function refuse cascade');
  }
  expect((await rowOf(segment.id)).roster).toMatchObject({ number });
  expect(logged.filter((line) => line.includes('refused here'))).toEqual([
    expect.stringContaining('"segment":"refused"'),
  ]);
});

test('many are signed in a few transactions', async () => {
  const segment = await makeSegment(t, 'of-many');
  await makeFirstAgent(t, segment.id, 'of-many-a');
  const { roster, ...row } = await rowOf(segment.id);
  const root = openRoot(t.masterKey, row);
  const firstId = 1_000_000;
  for (let id = firstId; id < firstId + 250; id++) {
    const { payload, signature } = await signRoster(root, { ...roster, segmentId: id });
    await t.sql`
      insert into segments (id, name, root_mode, root_key, root_key_sealed, roster_number, roster_payload, roster_signature)
      overriding system value values (${id}, ${`of-many-${id}`}, 'managed', ${row.rootKey},
        ${sealRoot(t.masterKey, id, root)}, ${roster.number + 10}, ${payload}, ${signature})`;
  }
  let transactions = 0;
  const sql = new Proxy(t.sql, {
    get(target, name, self) {
      if (name === 'begin') transactions += 1;
      return Reflect.get(target, name, self);
    },
  });
  await signRaisedRosters({ ...deps, sql });
  expect(transactions).toBe(3);
  for (const id of [firstId, firstId + 249])
    expect((await rowOf(id)).roster).toEqual({ ...roster, segmentId: id, number: roster.number + 10 });
});
