import type { AuditPage, AuditRow } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import type { PageQuery } from '../../api/page.ts';
import { load } from '../testing.ts';

const { AuditLog } = await load<typeof import('./audit-log.svelte.ts')>('state/audit/audit-log.svelte.ts');
const { ApiError } = await load<typeof import('../../api/client.ts')>('api/client.ts');

/** A log with the rows 1 to `last`, newest first. The newest `server.open` of them are not sealed. */
function setup(last: number) {
  const server = {
    last,
    open: 0,
    failing: false,
    searchedTo: undefined as string | undefined,
    /** The most that a search finds before the server ends it. */
    most: Number.POSITIVE_INFINITY,
    asked: [] as PageQuery[],
  };
  const read = async (query: PageQuery): Promise<AuditPage> => {
    server.asked.push(query);
    if (server.failing) throw new ApiError('unavailable', 'No database.');
    const from = query.cursor === undefined ? server.last : Number(query.cursor);
    const ids = Array.from({ length: Math.min(query.limit ?? 50, from, server.most) }, (_, at) => from - at);
    const next = from - ids.length;
    const items = ids.map(
      (id) => ({ id, position: id > server.last - server.open ? null : id - 1 }) as AuditRow,
    );
    const { searchedTo } = server;
    return {
      items,
      nextCursor: next > 0 ? String(next) : null,
      ...(searchedTo === undefined ? {} : { searchedTo }),
    };
  };
  const log = new AuditLog(read);
  const ids = () => log.rows?.map((row) => row.id) ?? [];
  return { server, log, ids };
}
const down = (from: number, to: number) => Array.from({ length: from - to + 1 }, (_, at) => from - at);

describe('the audit log', () => {
  it('is read as far as one scrolls, each row once, down to the first', async () => {
    const { log, ids } = setup(230);
    await log.load();
    expect([ids(), log.more]).toEqual([down(230, 131), true]);
    await log.loadMore();
    await log.loadMore();
    expect([ids(), log.more]).toEqual([down(230, 1), false]);
    await log.loadMore();
    expect(ids()).toHaveLength(230);
  });

  it('tells how far the server searched, until the search has gone on to its end', async () => {
    const { server, log } = setup(150);
    server.searchedTo = '2026-01-31T08:00:00.000Z';
    await log.load();
    expect([log.searchedTo, log.more]).toEqual(['2026-01-31T08:00:00.000Z', true]);
    server.searchedTo = undefined;
    await log.loadMore();
    expect([log.searchedTo, log.more]).toEqual([undefined, false]);
  });

  it('leaves no gap below new rows if the server ended its search before it got to those that are shown', async () => {
    const { server, log, ids } = setup(20);
    await log.load();
    Object.assign(server, { last: 40, most: 5, searchedTo: '2026-01-31T08:00:00.000Z' });
    await log.look();
    expect([log.newerCount, log.newerMore, ids()[0]]).toEqual([5, true, 20]);
    await log.showNewer();
    expect([ids(), log.more]).toEqual([down(40, 36), true]);
    await log.loadMore();
    expect(ids()).toEqual(down(40, 31));
  });

  it('counts new rows, but moves no row until they are asked for', async () => {
    const { server, log, ids } = setup(20);
    await log.load();
    server.last = 23;
    await log.look();
    expect([log.newerCount, log.newerMore, ids()[0]]).toEqual([3, false, 20]);
    await log.showNewer();
    expect([ids(), log.newerCount]).toEqual([down(23, 1), 0]);
  });

  it('starts over if there are more new rows than were counted, so that none is left out', async () => {
    const { server, log, ids } = setup(20);
    await log.load();
    server.last = 400;
    await log.look();
    expect(log.newerMore).toBe(true);
    await log.showNewer();
    expect([ids(), log.more]).toEqual([down(400, 301), true]);
  });

  it('shows the position of rows that were sealed after they were shown', async () => {
    const { server, log } = setup(5);
    server.open = 2;
    await log.load();
    expect(log.rows?.map((row) => row.position)).toEqual([null, null, 2, 1, 0]);
    server.open = 0;
    await log.look();
    expect(log.rows?.map((row) => row.position)).toEqual([4, 3, 2, 1, 0]);
  });

  it('keeps what was read when reading more fails, and continues from there', async () => {
    const { server, log, ids } = setup(150);
    await log.load();
    server.failing = true;
    await log.loadMore();
    expect([log.error?.code, ids().length, log.more]).toEqual(['unavailable', 100, true]);
    server.failing = false;
    await log.loadMore();
    expect([log.error, ids()]).toEqual([undefined, down(150, 1)]);
  });

  it('says of a failure that it is retried, until there are rows: older ones are read again only if asked', async () => {
    const { server, log } = setup(250);
    server.failing = true;
    await log.load();
    expect(log.error?.asksAgain).toBe(true);
    server.failing = false;
    await log.load();
    server.failing = true;
    await log.loadMore();
    expect(log.error?.asksAgain).toBe(false);
  });

  it('retries what failed: a look for newer rows, a reload, or reading more', async () => {
    const { server, log, ids } = setup(250);
    const failing = async (work: () => Promise<void>) => {
      server.failing = true;
      await work();
      expect(log.error?.code).toBe('unavailable');
      server.failing = false;
      await log.again();
      expect(log.error).toBeUndefined();
    };
    await log.load();
    server.last = 253;
    await failing(() => log.look());
    expect([log.newerCount, ids()]).toEqual([3, down(250, 151)]);
    server.last = 400;
    await log.look();
    await failing(() => log.showNewer());
    expect([log.newerCount, ids()]).toEqual([0, down(400, 301)]);
    await failing(() => log.loadMore());
    expect(ids()).toEqual(down(400, 201));
  });

  it('is read at the next look if the first reading failed', async () => {
    const { server, log, ids } = setup(3);
    server.failing = true;
    await log.load();
    server.failing = false;
    await log.look();
    expect([ids(), log.error]).toEqual([down(3, 1), undefined]);
  });
});
