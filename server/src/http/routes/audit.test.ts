import type { AuditCheckpoint, AuditRow } from '@opsconductor/protocol';
import { verifyCheckpoint } from '@opsconductor/protocol/audit';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { recordAudit } from '../../audit/record-audit.ts';
import { setupAudit, type TestAudit, testEntry } from '../../audit/testing.ts';
import { UserTurns } from '../../turns/user-turns.ts';
import { setupApp, type TestApp } from '../testing.ts';
import { auditRoutes } from './audit.ts';

let t: TestAudit;
let app: TestApp;
let token: string;
let ids: { dmz: number; lan: number; category: number; target: number; group: number };

beforeAll(async () => {
  t = await setupAudit();
  app = await setupApp(
    ({ sql, clock }) => auditRoutes({ sql, installation: t.installation, now: clock.now }),
    { database: t },
  );
  ({ token } = await app.user('all-seeing', ['auditor']));
  ids = await places();
  const { sql } = t;
  await recordAudit(sql, { ...testEntry('dmz'), scope: { segmentId: ids.dmz } });
  await recordAudit(sql, { ...testEntry('lan'), scope: { segmentId: ids.lan } });
  await recordAudit(sql, { ...testEntry('category'), scope: { categoryId: ids.category } });
  await recordAudit(sql, {
    ...testEntry('target'),
    object: { kind: 'target', id: ids.target },
    scope: { segmentId: ids.lan },
  });
  await recordAudit(sql, {
    actor: { kind: 'anonymous', name: 'mallory' },
    action: 'session.sign_in_failed',
    detail: { reason: '100%_wrong' },
    origin: { address: '198.51.100.9', requestId: 'x' },
  });
  await t.sealer.seal();
});
afterAll(() => app.close());

async function places() {
  const { sql } = t;
  const segment = async (name: string) => {
    const [row] = await sql<{ id: number }[]>`
      insert into segments (name, root_key, root_key_sealed) values (${name}, 'x', 'x') returning id`;
    return row?.id ?? 0;
  };
  const [dmz, lan] = [await segment('dmz'), await segment('lan')];
  const [row] = await sql<{ category: number; target: number; grp: number }[]>`
    with c as (insert into categories (name) values ('backups') returning id),
      t as (insert into targets (segment_id, name, host) values (${lan}, 'db1', 'db1') returning id),
      g as (insert into target_groups (name) values ('databases') returning id)
    select c.id as category, t.id as target, g.id as grp from c, t, g`;
  const found = { dmz, lan, category: row?.category ?? 0, target: row?.target ?? 0, group: row?.grp ?? 0 };
  await sql`insert into target_group_members values (${found.group}, ${found.target})`;
  return found;
}

async function scopedToken(name: string, column: string, id: number): Promise<string> {
  const user = await app.user(name, []);
  await t.sql`insert into role_grants ${t.sql({ user_id: user.id, role: 'auditor', [column]: id })}`;
  return user.token;
}

async function search(query = '', as = token): Promise<AuditRow[]> {
  const response = await app.request('GET', `/api/v1/audit${query}`, { token: as });
  expect(response.status).toBe(200);
  return ((await response.json()) as { items: AuditRow[] }).items;
}

const names = (rows: AuditRow[]) => rows.map((row) => row.action.replace('test.', ''));

describe('GET /api/v1/audit', () => {
  it('lists everything, newest first, with where it happened and its place in the sealed log', async () => {
    const rows = await search();
    expect(names(rows)).toEqual(['session.sign_in_failed', 'target', 'category', 'lan', 'dmz']);
    expect(rows[4]).toMatchObject({
      actorName: 'ada',
      segmentName: 'dmz',
      categoryName: null,
      position: 0,
      detail: { name: 'dmz' },
    });
  });

  it.each([
    ['?actor=mallory', ['session.sign_in_failed']],
    ['?actorKind=user&limit=1', ['target']],
    ['?action=session.', ['session.sign_in_failed']],
    ['?action=ession', []],
    ['?objectKind=target', ['target']],
    ['?objectKind=job&objectId=7', ['category', 'lan', 'dmz']],
    ['?address=198.51.100.9', ['session.sign_in_failed']],
    ['?text=100%25_wrong', ['session.sign_in_failed']],
    ['?text=100_', []],
    ['?from=2999-01-01T00:00:00Z', []],
    ['?to=1999-01-01T00:00:00Z', []],
    ['?from=1999-01-01T00:00:00%2B02:00&to=2999-01-01T00:00:00Z&action=test.l', ['lan']],
  ])('finds by %s', async (query, expected) => {
    expect(names(await search(query))).toEqual(expected);
  });

  it('finds by segment and category', async () => {
    expect(names(await search(`?segmentId=${ids.lan}`))).toEqual(['target', 'lan']);
    expect(names(await search(`?categoryId=${ids.category}`))).toEqual(['category']);
  });

  it('pages by cursor, without gaps or overlaps', async () => {
    const found: string[] = [];
    for (let cursor = ''; ; ) {
      const response = await app.request('GET', `/api/v1/audit?limit=2${cursor}`, { token });
      const page = (await response.json()) as { items: AuditRow[]; nextCursor: string | null };
      found.push(...names(page.items));
      if (page.nextCursor === null) break;
      cursor = `&cursor=${page.nextCursor}`;
    }
    expect(found).toEqual(['session.sign_in_failed', 'target', 'category', 'lan', 'dmz']);
  });

  it('shows a reader with a right on one scope only what happened there', async () => {
    const inDmz = await scopedToken('dmz-auditor', 'segment_id', ids.dmz);
    expect(names(await search('', inDmz))).toEqual(['dmz']);
    const ofCategory = await scopedToken('category-auditor', 'category_id', ids.category);
    expect(names(await search('', ofCategory))).toEqual(['category']);
    const ofGroup = await scopedToken('group-auditor', 'target_group_id', ids.group);
    expect(names(await search('', ofGroup))).toEqual(['target']);
    expect(names(await search('?text=dmz', ofGroup))).toEqual([]);
  });

  it('refuses callers who may not read it, and times that do not exist', async () => {
    const { token: viewer } = await app.user('viewer', ['viewer']);
    expect((await app.request('GET', '/api/v1/audit', { token: viewer })).status).toBe(403);
    const impossible = await app.request('GET', '/api/v1/audit?from=2026-13-01T00:00:00Z', { token });
    expect(impossible.status).toBe(400);
  });
});

describe('GET /api/v1/audit/checkpoints/latest', () => {
  it('returns the signed checkpoint and how many rows wait to be sealed', async () => {
    const response = await app.request('GET', '/api/v1/audit/checkpoints/latest', { token });
    const checkpoint = (await response.json()) as AuditCheckpoint;
    const key = Buffer.from(checkpoint.publicKey, 'base64');
    const read = await verifyCheckpoint(key, t.installation.installationId, checkpoint.note);
    expect(checkpoint).toMatchObject({ number: 1, size: read.size });
    expect(checkpoint.unsealedRows).toBeGreaterThanOrEqual(0);
  });

  it('is only for callers who may read the whole log, because it reveals its length', async () => {
    const scoped = await scopedToken('dmz-auditor-2', 'segment_id', ids.dmz);
    const response = await app.request('GET', '/api/v1/audit/checkpoints/latest', { token: scoped });
    expect(response.status).toBe(403);
  });
});

describe('GET /api/v1/audit/export', () => {
  it('as CSV has the requested rows, oldest first, and no formulas', async () => {
    await recordAudit(t.sql, {
      actor: { kind: 'anonymous', name: '=HYPERLINK("http://x")' },
      action: 'test.formula',
    });
    const response = await app.request('GET', '/api/v1/audit/export?format=csv&action=test.', { token });
    expect(response.headers.get('content-disposition')).toMatch(/attachment; filename="audit-.*\.csv"/);
    const lines = (await response.text()).trimEnd().split('\r\n');
    expect(lines).toHaveLength(6);
    expect(lines[0]).toContain('id,at,actorKind');
    expect(lines[1]).toContain('test.dmz');
    expect(lines[5]).toContain(`"'=HYPERLINK(""http://x"")"`);
  });

  it('with a right on one scope has only what happened there', async () => {
    const scoped = await scopedToken('dmz-auditor-3', 'segment_id', ids.dmz);
    const response = await app.request('GET', '/api/v1/audit/export', { token: scoped });
    const lines = (await response.text())
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; kind?: string });
    expect(lines.map((line) => line.type)).toEqual(['export', 'checkpoint', 'row', 'end']);
    expect(lines[0]?.kind).toBe('excerpt');
  });

  it('is read in turns with other users', async () => {
    const turns = vi.spyOn(UserTurns.prototype, 'take');
    const reader = await app.user('reader', ['auditor']);
    const path = '/api/v1/audit/export?actor=nobody';
    await (await app.request('GET', path, { token: reader.token })).text();
    expect(turns).toHaveBeenCalledWith(String(reader.id));
    turns.mockRestore();
  });

  it('is audited, with its filters', async () => {
    await (await app.request('GET', '/api/v1/audit/export?actor=ada', { token })).text();
    const [row] = await search('?action=audit.exported&limit=1');
    expect(row).toMatchObject({ actorName: 'all-seeing', detail: { actor: 'ada' } });
  });
});
