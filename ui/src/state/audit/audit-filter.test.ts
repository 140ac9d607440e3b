import { expect, it } from 'vitest';
import { paths } from '../../paths.ts';
import { auditQuery, fromDateField, isEmptyFilter, readAuditFilter, toDateField } from './audit-filter.ts';

const now = Date.parse('2026-11-24T02:27:12.000Z');
const read = (url: string) => readAuditFilter(new URL(url, 'https://console.example').searchParams);

it('a filter read from its address is the same filter', () => {
  const filter = {
    actor: 'ada',
    actorKind: 'user' as const,
    action: 'job.',
    text: 'a b&c',
    segmentId: 3,
    from: '2026-11-01T00:00:00.000Z',
  };
  expect(read(paths.audit({ ...filter }))).toEqual(filter);
});

it('invalid parts of an address are left out', () => {
  expect(read('/audit?segmentId=x&from=soon&actorKind=ghost&since=9y&actor=%20&other=1')).toEqual({});
  expect(isEmptyFilter(read('/audit'))).toBe(true);
  expect(isEmptyFilter(read('/audit?text=x'))).toBe(false);
});

it('a span counts back from now, and a given time wins over it', () => {
  expect(auditQuery(read('/audit?since=24h'), now)).toEqual({ from: '2026-11-23T02:27:12.000Z' });
  const told = read('/audit?since=24h&to=2026-11-01T00:00:00Z');
  expect(auditQuery(told, now)).toEqual({ to: '2026-11-01T00:00:00.000Z' });
});

it('an action is sent in the form in which actions are written', () => {
  expect(auditQuery({ action: 'Job.Created ' }, now)).toEqual({ action: 'job.created' });
});

it('date fields are UTC, whatever the reader’s time zone', () => {
  expect(fromDateField('2026-11-24T02:14')).toBe('2026-11-24T02:14:00.000Z');
  expect(toDateField('2026-11-24T02:14:00.000Z')).toBe('2026-11-24T02:14');
  expect([fromDateField(''), fromDateField('nonsense'), toDateField(undefined)]).toEqual([
    undefined,
    undefined,
    '',
  ]);
});
