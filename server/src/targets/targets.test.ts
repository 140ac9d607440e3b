import type { CreateTargetRequest, Permission } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority, type Grant } from '../auth/authority.ts';
import { createCredential } from '../credentials/edit-credentials.ts';
import { addTrust } from '../host-keys/edit-host-trust.ts';
import { blockedBackends, holdTransaction } from '../runs/testing.ts';
import {
  makeFirstAgent,
  makeSegment,
  sealedCredentialRequest,
  setupInstallation,
  type TestInstallation,
} from '../segments/testing.ts';
import type { Queryable } from '../store/database/connection.ts';
import { lockHostTrust } from '../store/host-keys/host-trust.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { listTargetRuns } from '../store/runs/runs.ts';
import { writeContact } from '../store/targets/target-contacts.ts';
import { createTarget, deleteTarget, updateTarget } from './edit-targets.ts';
import { getTarget, listTargets } from './list-targets.ts';

const testHostKey = `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${'A'.repeat(43)}`;

let t: TestInstallation;
let segmentId: number;
beforeAll(async () => {
  t = await setupInstallation();
  segmentId = (await makeSegment(t, 'targets')).id;
  await makeFirstAgent(t, segmentId, 'targets-a');
});
afterAll(() => t.close());

const create = (request: Partial<CreateTargetRequest>) =>
  createTarget(t.sql, { segmentId, name: 'web-1', host: '10.0.0.1', ...request }, t.caller);

async function openRunOn(targetId: number, status: string): Promise<number> {
  const [job] = await t.sql<{ id: number }[]>`
    insert into jobs (name, step_types, step_count, data_key)
    values (${`job on ${targetId} ${status}`}, '{ssh.exec}', 1, 'x') returning id`;
  const jobId = job?.id ?? 0;
  await t.sql`insert into job_versions (job_id, version, definition, checksum, step_names, step_types)
              values (${jobId}, 1, '\\x00', '\\x00', '{a}', '{ssh.exec}')`;
  const [run] = await t.sql<{ id: number }[]>`
    insert into job_runs (job_id, job_version, status, data_key, targets_total, total_steps, start_by)
    values (${jobId}, 1, ${status}, 'x', 1, 1, now() + interval '1 hour') returning id`;
  await t.sql`insert into job_run_targets (job_run_id, target_id, segment_id, target_name)
              select ${run?.id ?? 0}, id, segment_id, name from targets where id = ${targetId}`;
  return run?.id ?? 0;
}

describe('creating a target', () => {
  it('returns it with its defaults', async () => {
    const target = await create({ name: 'defaults' });
    expect(target).toMatchObject({
      segmentName: 'targets',
      host: '10.0.0.1',
      port: null,
      credentialId: null,
      credentialName: null,
      operatingSystem: 'linux',
      labels: {},
      description: '',
      settings: {},
      isActive: true,
      groups: [],
      effective: { protocol: 'ssh', port: 22, credentialId: null, credentialName: null },
      health: 'never',
      lastContact: null,
      hostKeys: [],
    });
    expect(await getTarget(t.sql, target.id, unrestricted)).toEqual(target);
  });

  it('refuses a name that is taken in the segment, but not in another', async () => {
    await create({ name: 'twice' });
    await expect(create({ name: 'twice' })).rejects.toMatchObject({
      code: 'conflict',
      details: [{ path: 'name' }],
    });
    const other = await makeSegment(t, 'targets-other');
    expect((await create({ name: 'twice', segmentId: other.id })).segmentName).toBe('targets-other');
  });

  it('refuses a segment that does not exist', async () => {
    await expect(create({ name: 'nowhere', segmentId: 999_999 })).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'segmentId' }],
    });
  });

  it('accepts only a credential of its own segment', async () => {
    const credential = await createCredential(
      t.sql,
      await sealedCredentialRequest(t, segmentId, 'own'),
      t.caller,
    );
    const target = await create({ name: 'with-credential', credentialId: credential.id });
    expect(target.credentialName).toBe('own');
    const other = await makeSegment(t, 'targets-foreign');
    for (const credentialId of [credential.id, '00000000-0000-4000-8000-000000000000']) {
      await expect(create({ name: 'foreign', segmentId: other.id, credentialId })).rejects.toMatchObject({
        code: 'invalid',
        details: [{ path: 'credentialId' }],
      });
    }
  });

  it('accepts a fingerprint that is given in advance', async () => {
    const fingerprint = `SHA256:${'a'.repeat(43)}`;
    const target = await create({ name: 'given', hostKeyFingerprint: fingerprint });
    expect(target.hostKeys).toMatchObject([{ fingerprint, state: 'accepted', acceptedBy: 'ada' }]);
    const accepted = await t.sql`
      select actor_name, detail - 'origin' as detail from audit_log
      where action = 'host_key.accepted' and object_id = ${String(target.id)}`;
    expect(accepted).toEqual([
      { actorName: 'ada', detail: { target: 'given', fingerprint, replaced: [], source: 'given' } },
    ]);
  });

  it('accepts a fingerprint only from callers who may accept host keys in the segment', async () => {
    const hostKeyFingerprint = `SHA256:${'c'.repeat(43)}`;
    const holding = (...permissions: Permission[]) => {
      const grants = permissions.map((permission): Grant => ({ role: null, permission, scope: null }));
      return { ...t.caller, authority: new Authority(grants) };
    };
    const asked = { segmentId, name: 'not-approved', host: '10.0.0.1' };
    const editor = holding('read', 'targets.edit');
    await expect(createTarget(t.sql, { ...asked, hostKeyFingerprint }, editor)).rejects.toMatchObject({
      code: 'forbidden',
      permission: 'host_keys.approve',
    });
    expect((await createTarget(t.sql, asked, editor)).hostKeys).toEqual([]);
    const approver = holding('read', 'targets.edit', 'host_keys.approve');
    const approved = await createTarget(t.sql, { ...asked, name: 'approved', hostKeyFingerprint }, approver);
    expect(approved.hostKeys).toHaveLength(1);
  });

  it('accepts no fingerprint that is revoked in its segment', async () => {
    const { id: strict } = await makeSegment(t, 'targets-revoked');
    const trust = { kind: 'revoked', publicKey: testHostKey, hosts: '*' } as const;
    const { fingerprint } = await addTrust(t.sql, strict, trust, t.caller);
    const asked = { name: 'leaked', hostKeyFingerprint: fingerprint };
    await expect(create({ ...asked, segmentId: strict })).rejects.toMatchObject({
      code: 'conflict',
      details: [{ path: 'hostKeyFingerprint' }],
    });
    expect((await listTargets(t.sql, { segmentId: strict }, unrestricted)).items).toEqual([]);
    expect((await create(asked)).hostKeys).toHaveLength(1);
  });

  it('with a fingerprint waits for a change of what its segment trusts, and keeps nobody else waiting', async () => {
    const { id: busy } = await makeSegment(t, 'targets-busy');
    const letGo = await holdTransaction(t.sql, (tx) => lockHostTrust(tx, busy));
    const asked = { name: 'later', segmentId: busy, hostKeyFingerprint: `SHA256:${'c'.repeat(43)}` };
    const waiting = create(asked);
    waiting.catch(() => undefined);
    await blockedBackends(t.sql, 1);
    const other = create({ name: 'meanwhile' });
    expect(await Promise.race([other.then(() => 'the other'), blockedBackends(t.sql, 2)])).toBe('the other');
    await letGo();
    expect((await waiting).hostKeys).toHaveLength(1);
  });
});

describe('listing targets', () => {
  it('pages through all of them once, in the order of names', async () => {
    const segment = await makeSegment(t, 'paging');
    const names = Array.from({ length: 25 }, (_, n) => `page-${String((n * 7) % 25).padStart(2, '0')}`);
    for (const name of names) await create({ name, segmentId: segment.id });
    const seen: string[] = [];
    let cursor: string | undefined;
    let pages = 0;
    do {
      const page = await listTargets(
        t.sql,
        {
          segmentId: segment.id,
          limit: 10,
          ...(cursor === undefined ? {} : { cursor }),
        },
        unrestricted,
      );
      seen.push(...page.items.map((target) => target.name));
      cursor = page.nextCursor ?? undefined;
      pages += 1;
    } while (cursor !== undefined);
    expect(seen).toEqual([...names].sort());
    expect(pages).toBe(3);
  });

  it('has no next page if the last one is exactly full', async () => {
    const segment = await makeSegment(t, 'full-page');
    for (const name of ['a', 'b']) await create({ name, segmentId: segment.id });
    expect(
      (await listTargets(t.sql, { segmentId: segment.id, limit: 2 }, unrestricted)).nextCursor,
    ).toBeNull();
  });

  it('searches name and host, and no character in the search is special', async () => {
    const segment = await makeSegment(t, 'search');
    await create({ name: 'DB_1', host: 'db-1.example.com', segmentId: segment.id });
    await create({ name: 'DBx1', host: 'db-2.example.com', segmentId: segment.id });
    const names = async (search: string) =>
      (await listTargets(t.sql, { segmentId: segment.id, search }, unrestricted)).items.map(
        (target) => target.name,
      );
    expect(await names('db_')).toEqual(['DB_1']);
    expect(await names('DB-2.EXAMPLE')).toEqual(['DBx1']);
    expect(await names('%')).toEqual([]);
    expect(await names("'; drop table targets; --")).toEqual([]);
    expect(await names('\\')).toEqual([]);
    expect(await names('')).toHaveLength(2);
    await expect(names('a\0b')).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'query.search' }],
    });
  });

  it('refuses a cursor that it did not issue', async () => {
    const cursors = [
      'x',
      '!!!',
      Buffer.from('["a"]').toString('base64url'),
      Buffer.from('[1,2]').toString('base64url'),
      Buffer.from('["a\\u0000",1]').toString('base64url'),
      Buffer.from('["a",1.5]').toString('base64url'),
      Buffer.from('{"length":2}').toString('base64url'),
    ];
    for (const cursor of cursors) {
      await expect(listTargets(t.sql, { cursor }, unrestricted)).rejects.toMatchObject({
        code: 'invalid',
        details: [{ path: 'query.cursor' }],
      });
    }
  });
});

describe('changing a target', () => {
  it('forgets the host keys when it becomes another host or port, and says which in the audit log', async () => {
    const fingerprint = `SHA256:${'b'.repeat(43)}`;
    const { id } = await create({ name: 'moving', hostKeyFingerprint: fingerprint });
    const renamed = await updateTarget(t.sql, id, { name: 'moved', host: '10.0.0.1' }, t.caller);
    expect(renamed.hostKeys).toHaveLength(1);
    const moved = await updateTarget(t.sql, id, { name: 'moved', host: '10.0.0.1', port: 2222 }, t.caller);
    expect(moved).toMatchObject({ name: 'moved', port: 2222, hostKeys: [] });
    const details = await t.sql<{ detail: { forgottenHostKeys: string[] } }[]>`
      select detail from audit_log where action = 'target.changed' and object_id = ${String(id)} order by id`;
    expect(details.map((row) => row.detail.forgottenHostKeys)).toEqual([[], [fingerprint]]);
  });

  it('does not know the health any more once how it is reached is another', async () => {
    const { id } = await create({ name: 'refusing' });
    const seen = async () => {
      const { health, lastContact, lastProbe, untriedSince } = await getTarget(t.sql, id, unrestricted);
      return [health, lastContact?.reason, lastProbe?.ok, untriedSince === undefined];
    };
    await updateTarget(t.sql, id, { port: 2200 }, t.caller);
    expect(await seen()).toEqual(['never', undefined, undefined, true]);
    const changes = [{ port: 2222 }, { host: '10.9.9.9' }, { settings: { username: 'other' } }];
    for (const change of changes) {
      await writeContact(t.sql, id, { ok: false, reason: 'connection_refused' });
      await t.sql`update targets set last_probe_at = now(), last_probe_ok = false where id = ${id}`;
      await updateTarget(t.sql, id, { description: `before ${Object.keys(change)}` }, t.caller);
      expect(await seen()).toEqual(['failing', 'connection_refused', false, true]);
      await updateTarget(t.sql, id, change, t.caller);
      expect(await seen()).toEqual(['never', undefined, undefined, false]);
    }
    await writeContact(t.sql, id, { ok: true, reason: null });
    expect(await seen()).toEqual(['ok', null, undefined, true]);
  });

  it('keeps the credential if the request leaves it out, and removes it for null', async () => {
    const credential = await createCredential(
      t.sql,
      await sealedCredentialRequest(t, segmentId, 'kept'),
      t.caller,
    );
    const { id } = await create({ name: 'keeps', credentialId: credential.id });
    const change = (credentialId?: string | null) =>
      updateTarget(
        t.sql,
        id,
        { name: 'keeps', host: '10.0.0.1', ...(credentialId === undefined ? {} : { credentialId }) },
        t.caller,
      );
    expect((await change()).credentialId).toBe(credential.id);
    expect((await change(null)).credentialId).toBeNull();
  });

  it('keeps what the request leaves out, even if somebody has changed it since', async () => {
    const { id } = await create({ name: 'shared', host: '10.0.0.5' });
    await updateTarget(t.sql, id, { host: '10.0.0.9', expected: { host: '10.0.0.5' } }, t.caller);
    const labelled = { labels: { tier: 'web' }, expected: { labels: {} } };
    const saved = await updateTarget(t.sql, id, labelled, t.caller);
    expect(saved).toMatchObject({ name: 'shared', host: '10.0.0.9', labels: { tier: 'web' } });
  });

  it('is refused if a field is no longer what the change was based on, and the refusal names each such field', async () => {
    const { id } = await create({ name: 'contested', labels: { env: 'prod' }, settings: { username: 'a' } });
    await updateTarget(t.sql, id, { host: '10.0.0.9', labels: { env: 'prod', tier: 'web' } }, t.caller);
    const late = {
      host: '10.0.0.7',
      labels: { env: 'prod', own: '' },
      description: 'mine',
      expected: { host: '10.0.0.1', labels: { env: 'prod' }, description: '', settings: { username: 'a' } },
    };
    await expect(updateTarget(t.sql, id, late, t.caller)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringMatching(/^Target contested was changed meanwhile: host, labels\./),
      details: [
        { path: 'expected.host', found: '"10.0.0.1"', message: 'Is "10.0.0.9" by now.' },
        { path: 'expected.labels', found: '{"env":"prod"}' },
      ],
    });
    expect(await getTarget(t.sql, id, unrestricted)).toMatchObject({ host: '10.0.0.9', description: '' });
    const again = { ...late, expected: { host: '10.0.0.9', labels: { tier: 'web', env: 'prod' } } };
    expect(await updateTarget(t.sql, id, again, t.caller)).toMatchObject({ host: '10.0.0.7' });
  });

  it('refuses a taken name, and a target that is gone', async () => {
    await create({ name: 'first' });
    const { id } = await create({ name: 'second' });
    const rename = (target: number) =>
      updateTarget(t.sql, target, { name: 'first', host: '10.0.0.1' }, t.caller);
    await expect(rename(id)).rejects.toMatchObject({ code: 'conflict', details: [{ path: 'name' }] });
    await expect(rename(999_999)).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('deleting a target', () => {
  it('is refused while an open run uses it, and keeps the history of ended runs', async () => {
    const { id } = await create({ name: 'used' });
    const ended = await openRunOn(id, 'succeeded');
    const open = await openRunOn(id, 'running');
    await expect(deleteTarget(t.sql, id, t.caller)).rejects.toMatchObject({ code: 'conflict' });
    await t.sql`update job_runs set status = 'succeeded' where id = ${open}`;
    await deleteTarget(t.sql, id, t.caller);
    await expect(getTarget(t.sql, id, unrestricted)).rejects.toMatchObject({ code: 'not_found' });
    const rows = await listTargetRuns(t.sql, { runId: ended, above: 0, limit: 10 }, unrestricted);
    expect(rows).toMatchObject([{ targetId: null, targetName: 'used' }]);
    await expect(deleteTarget(t.sql, id, t.caller)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('rewrites no history of what ran on it, however long that is', async () => {
    const { id } = await create({ name: 'busy' });
    const runId = await openRunOn(id, 'succeeded');
    await t.sql`insert into ssh_execution_context (job_run_id, target_id, session_id, agent_id) values (${runId}, ${id}, 's', 1)`;
    const versions = () =>
      t.sql`select xmin::text from job_run_targets union all select xmin::text from ssh_execution_context`;
    const before = await versions();
    await deleteTarget(t.sql, id, t.caller);
    expect(await versions()).toEqual(before);
  });

  it('leaves no way to create a target run on it, and waits for a transaction that creates one', async () => {
    const [gone, begun] = [await create({ name: 'gone' }), await create({ name: 'begun' })];
    const runId = await openRunOn((await create({ name: 'another' })).id, 'succeeded');
    const targetRun = (sql: Queryable, targetId: number) => sql`
      insert into job_run_targets (job_run_id, target_id, segment_id, target_name)
      values (${runId}, ${targetId}, ${segmentId}, 'any')`;
    const commit = await holdTransaction(t.sql, (tx) => targetRun(tx, begun.id));
    const remove = t.sql`select from targets where id = ${begun.id} for update nowait`;
    await expect(remove).rejects.toMatchObject({ code: '55P03' });
    await commit();
    await deleteTarget(t.sql, gone.id, t.caller);
    await expect(targetRun(t.sql, gone.id)).rejects.toMatchObject({ code: '23503' });
  });
});
