import { expect, it } from 'vitest';
import { paths } from '../../paths.ts';
import { apiFilter, type JobFilter, jobQuery, narrowing, readJobFilter } from './job-filter.ts';

const now = Date.parse('2026-11-24T02:27:12.000Z');
const read = (url: string) => readJobFilter(new URL(url, 'https://console.example').searchParams);

it('a filter read from its address is the same filter', () => {
  const filter: JobFilter = {
    search: 'tls & more',
    category: 'prod/db',
    label: 'env=prod',
    stepType: 'ssh.exec',
    state: 'draft',
    author: 'ada',
    lastResult: 'failed,timed_out',
    template: 'no',
    madeFrom: 7,
    when: 'created',
    from: '2026-11-01',
    to: '2026-11-02',
    sort: 'lastRun',
  };
  expect(read(paths.jobs({ ...filter }))).toEqual(filter);
  expect(narrowing(filter)).not.toContain('sort');
  expect(narrowing({ sort: 'updated' })).toEqual([]);
});

it('invalid parts of an address are left out', () => {
  const url =
    '/jobs?search=%20&state=asleep&lastResult=fine,none&template=maybe&madeFrom=x&sort=name&when=changed&from=soon';
  expect(read(url)).toEqual({ lastResult: 'none' });
  expect(read('/jobs?since=24h&from=2026-11-01')).toEqual({});
  expect(read('/jobs?when=changed&from=2026-13-45')).toEqual({});
});

it('days are whole days in UTC, and spans count back from now', () => {
  expect(apiFilter(read('/jobs?when=created&from=2026-11-01&to=2026-11-02'), now)).toEqual({
    createdAfter: '2026-11-01T00:00:00.000Z',
    createdBefore: '2026-11-03T00:00:00.000Z',
  });
  expect(apiFilter(read('/jobs?when=changed&since=24h'), now)).toEqual({
    updatedAfter: '2026-11-23T02:27:12.000Z',
  });
});

it('a list is sorted, a bulk action is not', () => {
  const filter = read('/jobs?sort=updated&template=yes&search=%20disk');
  expect(jobQuery(filter, now)).toEqual({ sort: 'updated', template: true, search: 'disk' });
  expect(apiFilter(filter, now)).toEqual({ template: true, search: 'disk' });
});
