import type { AuditPage, AuditQuery } from '@opsconductor/protocol';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { unrestricted } from '../../store/people/visibility.ts';
import { recordAudit } from '../record-audit.ts';
import { setupAudit, type TestAudit, testEntry } from '../testing.ts';
import { searchLog } from './search-log.ts';

let t: TestAudit;

beforeAll(async () => {
  t = await setupAudit();
});
beforeEach(() => t.empty());
afterAll(() => t.close());

/** Searches in spans. `spans` is how many are searched before the time is over. */
function search(query: AuditQuery, spans: number): Promise<AuditPage> {
  let asked = 0;
  // Asked twice at the beginning, and then after each span.
  const now = () => {
    asked += 1;
    return asked > spans + 1 ? 1_000 : 0;
  };
  return searchLog(t.sql, query, unrestricted, {
    periodMs: 10_000,
    wholeMs: 0,
    totalMs: 900,
    firstSpan: 1_000,
    spanTimeoutMs: 10_000,
    now,
  });
}

/** Writes rows 1 to `last`, one a second. Those given have `needle` in their detail. */
async function write(last: number, needles: readonly number[]): Promise<void> {
  await t.sql`
    insert into audit_log (at, actor_kind, actor_name, action, detail)
    select timestamptz '2026-01-01' + n * interval '1 s', 'system', 'a', 'test.row',
      case when n = any(${needles as number[]}::int[]) then jsonb_build_object('is', 'needle ' || n) else '{}' end
    from generate_series(1, ${last}::int) n order by n`;
}
const found = (page: AuditPage) => page.items.map((row) => row.detail.is);

it('a search for what is nowhere ends in time, says how far it looked, and goes on to the beginning of the log', async () => {
  await write(2_500, []);
  const first = await search({ text: 'needle' }, 1);
  expect(first).toMatchObject({ items: [], searchedTo: '2026-01-01T00:25:01.000Z' });
  const rest = await search({ text: 'needle', cursor: first.nextCursor ?? '' }, 9);
  expect(rest).toEqual({ items: [], nextCursor: null });
});

it('pages of a search that goes back in spans have each row once, newest first', async () => {
  await write(4_000, [1, 3, 999, 2_000, 2_001, 3_999, 4_000]);
  const all: unknown[] = [];
  let cursor: string | undefined;
  let cut = 0;
  for (let pages = 0; pages < 20; pages += 1) {
    const page = await search({ text: 'NEEDLE', limit: 2, ...(cursor === undefined ? {} : { cursor }) }, 1);
    all.push(...found(page));
    if (page.searchedTo !== undefined) cut += 1;
    else expect(page.items.length === 2 || page.nextCursor === null).toBe(true);
    if (page.nextCursor === null) break;
    cursor = page.nextCursor;
  }
  expect(cut).toBeGreaterThan(0);
  expect(all).toEqual([4_000, 3_999, 2_001, 2_000, 999, 3, 1].map((n) => `needle ${n}`));
});

it('a search back begins and ends with the period that is asked for', async () => {
  await write(4_000, [1_000, 3_500]);
  const early = await search({ text: 'needle', from: '2026-01-01T00:10:00Z', to: '2026-01-01T00:25:00Z' }, 1);
  expect([found(early), early.nextCursor]).toEqual([['needle 1000'], null]);
  const page = await search({ text: 'needle', from: '2026-01-01T00:50:01Z' }, 1);
  expect([found(page), page.nextCursor]).toEqual([['needle 3500'], null]);
  const later = await search({ text: 'needle', from: '2027-01-01T00:00:00Z' }, 1);
  expect(later).toEqual({ items: [], nextCursor: null });
});

it('a search of the whole log that takes long is ended, and goes back in spans', async () => {
  await recordAudit(t.sql, { ...testEntry('one'), detail: { is: 'needle' } });
  const lock = await t.sql.reserve();
  await lock`begin`;
  await lock`lock table audit_log in access exclusive mode`;
  const released: Promise<unknown>[] = [];
  let asked = 0;
  const now = () => {
    asked += 1;
    // The first time is before the search of the whole log.
    if (asked === 2) released.push(lock`commit`.then(() => lock.release()));
    return 0;
  };
  const pace = { periodMs: 10_000, wholeMs: 50, totalMs: 900, firstSpan: 1_000, spanTimeoutMs: 10_000, now };
  const page = await searchLog(t.sql, { text: 'needle' }, unrestricted, pace);
  await Promise.all(released);
  expect([found(page), page.nextCursor, released.length]).toEqual([['needle'], null, 1]);
});
