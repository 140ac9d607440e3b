// Tested with files that OpenSSH's own tools make.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeSegment, setupInstallation, type TestInstallation } from '../segments/testing.ts';
import { listHostTrust } from '../store/host-keys/host-trust.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { writeContact } from '../store/targets/target-contacts.ts';
import { createTarget } from '../targets/edit-targets.ts';
import { getTarget } from '../targets/list-targets.ts';
import { addTrust, removeTrust } from './edit-host-trust.ts';
import { applyKnownHosts, planKnownHosts } from './import-known-hosts.ts';
import { namesHost, parseKnownHosts } from './parse-known-hosts.ts';

let t: TestInstallation;
let segmentId: number;
let web: number;
let db: number;
const folder = mkdtempSync(join(tmpdir(), 'opsconductor-known-hosts-'));
const keys: string[] = [];
beforeAll(async () => {
  t = await setupInstallation();
  for (const [index, type] of ['ed25519', 'ecdsa', 'ed25519', 'ed25519', 'ed25519'].entries()) {
    const path = join(folder, `key${index}`);
    execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', 'a comment', '-f', path]);
    keys.push(readFileSync(`${path}.pub`, 'utf8').trim());
  }
});
beforeAll(async () => {
  segmentId = (await makeSegment(t, 'known')).id;
  web = (await createTarget(t.sql, { segmentId, name: 'web', host: 'Web.example.com' }, t.caller)).id;
  db = (await createTarget(t.sql, { segmentId, name: 'db', host: '10.0.0.5', port: 2222 }, t.caller)).id;
});
afterAll(async () => {
  await t.close();
  rmSync(folder, { recursive: true });
});

const acceptedOf = async (id: number) =>
  (await getTarget(t.sql, id, unrestricted)).hostKeys.filter((key) => key.state === 'accepted').length;
const plan = (content: string) => planKnownHosts(t.sql, { segmentId, content }, t.caller);
const apply = (content: string, digest: string, more = {}) =>
  applyKnownHosts(t.sql, { segmentId, content, digest, ...more }, t.caller);

test('host names that were hashed by ssh-keygen -H are found by the same rules as by ssh-keygen -F', () => {
  const path = join(folder, 'hashed');
  writeFileSync(path, `web.example.com ${keys[0]}\n[10.0.0.5]:2222 ${keys[2]}\n`);
  execFileSync('ssh-keygen', ['-q', '-H', '-f', path], { stdio: 'pipe' });
  const content = readFileSync(path, 'utf8');
  expect(content).not.toContain('web.example.com');
  const { lines } = parseKnownHosts(content);
  for (const name of ['web.example.com', '[10.0.0.5]:2222', '10.0.0.5', 'other.example.com']) {
    let found = '';
    try {
      found = execFileSync('ssh-keygen', ['-F', name, '-f', path], { encoding: 'utf8' });
    } catch {
      // ssh-keygen exits with 1 if it finds nothing.
    }
    const ours = lines.filter((line) => namesHost(line, name)).map((line) => line.line);
    expect(ours).toEqual([...found.matchAll(/found: line (\d+)/g)].map((match) => Number(match[1])));
  }
});

test('a file is planned line by line, and applied as it was shown', async () => {
  const content = [
    '# a comment',
    `web.example.com,10.0.0.1 ${keys[0]}`,
    `*.example.com,!web.example.com ${keys[1]}`,
    `[10.0.0.5]:2222 ${keys[1]}`,
    `10.0.0.5 ${keys[2]}`,
    `@cert-authority *.example.com ${keys[3]}`,
    'web.example.com ssh-ed25519 AAAAnonsense',
    'web.example.com ssh-dss AAAAB3NzaC1kc3M=',
    `@unheard-of web ${keys[0]}`,
    'too short',
  ].join('\r\n');
  const planned = await plan(content);
  expect(planned.items.map(({ line, action, targetName }) => [line, action, targetName])).toEqual([
    [2, 'accept', 'web'],
    [3, 'no_target', null],
    [4, 'accept', 'db'],
    [5, 'no_target', null],
    [6, 'authority', null],
    [7, 'unusable', null],
    [8, 'unusable', null],
    [9, 'unusable', null],
    [10, 'unusable', null],
  ]);
  expect(planned.items.every((item) => item.action !== 'unusable' || item.message !== null)).toBe(true);
  expect([await acceptedOf(web), await acceptedOf(db)]).toEqual([0, 0]);
  await writeContact(t.sql, web, { ok: false, reason: 'host_key_unknown' });
  await apply(content, planned.digest);
  expect((await getTarget(t.sql, web, unrestricted)).health).toBe('never');
  expect([await acceptedOf(web), await acceptedOf(db)]).toEqual([1, 1]);
  expect((await listHostTrust(t.sql, segmentId)).map(({ kind, hosts }) => [kind, hosts])).toEqual([
    ['authority', '*.example.com'],
  ]);
  const again = await plan(content);
  expect(again.counts).toMatchObject({ accept: 0, known: 3, authority: 0 });
  await expect(apply(content, planned.digest)).rejects.toMatchObject({ code: 'conflict' });
});

test('a key that differs from the accepted one is a conflict in the plan, and is skipped only on request', async () => {
  const content = `web.example.com ${keys[4]}\n[10.0.0.5]:2222 ${keys[4]}\n`;
  const planned = await plan(content);
  expect(planned.items.map((item) => item.action)).toEqual(['conflict', 'accept']);
  expect(planned.items[0]?.message).toContain('another key of this type is accepted');
  await expect(apply(content, planned.digest)).rejects.toMatchObject({
    code: 'conflict',
    details: [{ path: 'content:1' }],
  });
  expect(await acceptedOf(db)).toBe(1);
  await apply(content, planned.digest, { skipConflicts: true });
  expect([await acceptedOf(web), await acceptedOf(db)]).toEqual([1, 2]);
});

test('a revoked key is removed from the targets that have it', async () => {
  const content = `@revoked * ${keys[4]}\nweb.example.com ${keys[4]}\n`;
  const planned = await plan(content);
  expect(planned.items.map((item) => item.action)).toEqual(['revoke', 'conflict']);
  await apply(content, planned.digest, { skipConflicts: true });
  expect(await acceptedOf(db)).toBe(1);
});

test('a file with more hashed names than can be tried is refused, and the error says what to do', async () => {
  const hashed = `|1|${'A'.repeat(27)}=|${'A'.repeat(27)}= ${keys[0]}\n`;
  const other = (await makeSegment(t, 'many')).id;
  await t.sql`
    insert into targets (segment_id, name, host)
    select ${other}, 'h' || n, 'h' || n || '.example' from generate_series(1, 2000) n`;
  await expect(
    planKnownHosts(t.sql, { segmentId: other, content: hashed.repeat(2_001) }, t.caller),
  ).rejects.toMatchObject({ code: 'invalid', details: [{ path: 'content' }] });
});

test('hashed names are found while the server stays responsive and accepts no second such file', async () => {
  const path = join(folder, 'many-hashed');
  writeFileSync(path, `web.example.com ${keys[0]}\n[10.0.0.5]:2222 ${keys[2]}\n`);
  execFileSync('ssh-keygen', ['-q', '-H', '-f', path], { stdio: 'pipe' });
  const found = readFileSync(path, 'utf8');
  expect((await plan(found)).items.map((item) => item.targetName)).toEqual(['web', 'db']);
  const other = `|1|${'A'.repeat(27)}=|${'A'.repeat(27)}= ${keys[0]}\n`.repeat(200);
  const many = (await makeSegment(t, 'busy')).id;
  await t.sql`
    insert into targets (segment_id, name, host)
    select ${many}, 'b' || n, 'b' || n || '.example' from generate_series(1, 400) n`;
  let turns = 0;
  const turning = setInterval(() => {
    turns += 1;
  }, 1);
  const planning = planKnownHosts(t.sql, { segmentId: many, content: other }, t.caller);
  const second = planKnownHosts(t.sql, { segmentId: many, content: other }, t.caller);
  const [first, refused] = await Promise.allSettled([planning, second]);
  clearInterval(turning);
  // If the hashing were done in this thread, it would take only a turn or two.
  expect(turns).toBeGreaterThan(20);
  expect([first.status, refused.status].sort()).toEqual(['fulfilled', 'rejected']);
  expect(
    first.status === 'rejected' ? first.reason : (refused as PromiseRejectedResult).reason,
  ).toMatchObject({
    code: 'rate_limited',
  });
});

test('something that a segment trusts is removed once; a second removal is refused and not recorded', async () => {
  const { id } = await addTrust(
    t.sql,
    segmentId,
    { kind: 'authority', publicKey: keys[2] ?? '', hosts: 'gone.example' },
    t.caller,
  );
  await removeTrust(t.sql, segmentId, id, t.caller);
  await expect(removeTrust(t.sql, segmentId, id, t.caller)).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining('look again'),
  });
  const rows = await t.sql`
    select 1 from audit_log where action = 'host_authority.removed' and detail ->> 'hosts' = 'gone.example'`;
  expect(rows).toHaveLength(1);
});

test('for any text, each line is read as a key or the answer says why it is not one', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const { lines, unusable } = parseKnownHosts(text);
      const count = text.split(/\r?\n/).length;
      expect(lines.length + unusable.length).toBeLessThanOrEqual(count);
      expect(unusable.every((line) => line.message !== '')).toBe(true);
    }),
  );
});
