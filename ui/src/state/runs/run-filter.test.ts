import { expect, test } from 'vitest';
import { narrowing, readRunFilter, runQuery } from './run-filter.ts';

const read = (text: string) => readRunFilter(new URLSearchParams(text));

test('a filter is read from an address without what is not valid there', () => {
  expect(
    read(
      'search=Patch&category=ops&status=failed,lost,unknown&createdBy=nina&target=web&version=stable&jobId=7&targetId=0&sort=oldest&from=2026-11-01&to=tomorrow',
    ),
  ).toEqual({
    search: 'Patch',
    category: 'ops',
    status: 'failed,unknown',
    createdBy: 'nina',
    target: 'web',
    version: 'stable',
    jobId: 7,
    sort: 'oldest',
    from: '2026-11-01',
  });
  expect(read('status=lost&search=%20&jobId=x&since=1y&sort=name')).toEqual({});
});

test('the sort order does not narrow a list', () => {
  expect(narrowing(read('sort=oldest'))).toEqual([]);
  expect(narrowing(read('sort=oldest&since=24h'))).toEqual(['since']);
});

test('the last day is included, and a span counts back from now', () => {
  expect(runQuery(read('from=2026-11-01&to=2026-11-02'), 0)).toEqual({
    createdAfter: '2026-11-01T00:00:00.000Z',
    createdBefore: '2026-11-03T00:00:00.000Z',
  });
  expect(runQuery(read('since=24h&status=failed'), Date.parse('2026-11-26T10:00:00Z'))).toEqual({
    status: 'failed',
    createdAfter: '2026-11-25T10:00:00.000Z',
  });
});
