import type { RunStatus } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { hostCancel, hostCancelNote, hostCancelTitle, hostCancelWords } from './host-cancel-words.ts';

test('a host can be cancelled while it goes on, and forced while it is being cancelled', () => {
  const run = { status: 'running' } as const;
  const of = (status: RunStatus, whole: RunStatus = run.status) =>
    hostCancel({ targetRun: { status }, steps: [] }, { status: whole });
  expect(of('queued')).toBe('cancel');
  expect(of('held')).toBe('cancel');
  expect(of('cancelling')).toBe('force');
  expect(of('cancelling', 'cancelling')).toBe('force');
  expect(of('failed')).toBeUndefined();
  expect(of('queued', 'cancelled')).toBeUndefined();
});

test('of an unknown host whose agent never told, what may still be running can be stopped, once', () => {
  const step = { status: 'unknown', reason: 'agent_silent' } as const;
  const targetRun = { status: 'unknown', cancelRequestedAt: null } as const;
  const run = { status: 'running' } as const;
  expect(hostCancel({ targetRun, steps: [step] }, run)).toBe('stop');
  expect(hostCancelTitle('stop', 'web-3')).toBe('Stop what may still be running on web-3');
  // Its agent said that it does not know.
  expect(hostCancel({ targetRun, steps: [{ ...step, reason: 'connection_lost' }] }, run)).toBeUndefined();
  const asked = { ...targetRun, cancelRequestedAt: '2026-11-26T06:00:31.000Z' };
  expect(hostCancel({ targetRun: asked, steps: [step] }, run)).toBeUndefined();
  expect(hostCancel({ targetRun, steps: [step] }, { status: 'unknown' })).toBeUndefined();
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
