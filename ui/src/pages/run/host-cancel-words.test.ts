import { expect, test } from 'vitest';
import { hostCancel, hostCancelNote, hostCancelWords } from './host-cancel-words.ts';

test('a host can be cancelled while it goes on, and forced while it is being cancelled', () => {
  const run = { status: 'running' } as const;
  expect(hostCancel({ status: 'queued' }, run)).toBe('cancel');
  expect(hostCancel({ status: 'held' }, run)).toBe('cancel');
  expect(hostCancel({ status: 'cancelling' }, run)).toBe('force');
  expect(hostCancel({ status: 'cancelling' }, { status: 'cancelling' })).toBe('force');
  expect(hostCancel({ status: 'unknown' }, run)).toBeUndefined();
  expect(hostCancel({ status: 'queued' }, { status: 'cancelled' })).toBeUndefined();
});

test('the dialog says only what applies to the host', () => {
  expect(hostCancelWords([{ status: 'pending' }])).toHaveLength(2);
  expect(hostCancelWords([{ status: 'running' }, { status: 'pending' }])[0]).toMatch(/TERM, then KILL/);
  expect(hostCancelWords([{ status: 'held' }, { status: 'pending' }])[0]).toMatch(/ends unknown/);
});

test('the note says who cancelled the host, and never calls one cancelled that ended otherwise', () => {
  const asked = { cancelRequestedAt: '2026-11-26T06:00:31.000Z', cancelRequestedBy: 'ben' };
  const now = Date.parse('2026-11-26T07:00:00.000Z');
  const note = (status: Parameters<typeof hostCancelNote>[0]['status']) =>
    hostCancelNote({ status, ...asked }, now);
  expect(note('cancelling')).toMatchObject({ lead: 'Host is being cancelled.', state: 'cancelling' });
  expect(note('cancelled')).toMatchObject({
    lead: 'Host cancelled.',
    text: expect.stringMatching(/^ben asked for it at /),
  });
  expect(note('succeeded')).toMatchObject({
    text: expect.stringMatching(/It ended succeeded\.$/),
    state: 'succeeded',
  });
  expect(hostCancelNote({ status: 'cancelled' }, now)).toBeUndefined();
  expect(hostCancelNote({ status: 'cancelled', ...asked, cancelRequestedBy: null }, now)?.text).toMatch(
    /^A user who/,
  );
});
