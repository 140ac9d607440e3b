import { expect, it } from 'vitest';
import { groupNote } from './group-note.ts';
import { failed, group, host } from './testing.ts';

const now = Date.parse('2026-11-29T10:00:00Z');
const about = {
  run: { startedAt: null as string | null, startBy: '2026-11-29T10:47:00Z' },
  decisions: 2 as number | undefined,
  hasAllSteps: true,
  now,
};

it('hosts that failed alike say why, and otherwise how many causes there are', () => {
  const alike = { status: 'failed' as const, hosts: [1, 2].map((id) => host(id, 'failed', [failed(5)])) };
  expect(groupNote(alike, about)).toBe('step-1: exit 5');
  const other = host(3, 'failed', [failed(7)]);
  expect(groupNote({ ...alike, hosts: [...alike.hosts, other] }, about)).toBe('2 causes');
});

it('says nothing about why hosts failed while the steps of one are not loaded', () => {
  const hosts = [host(1, 'failed', [failed(5)]), host(2, 'failed')];
  expect(groupNote({ status: 'failed', hosts }, { ...about, hasAllSteps: false })).toBe('');
  expect(groupNote({ status: 'failed', hosts }, about)).toBe('step-1: exit 5');
});

it('queued hosts say by when they must start, until the run has started', () => {
  expect(groupNote(group('queued', [1]), about)).toBe('must start by 10:47:00');
  const run = { ...about.run, startedAt: '2026-11-29T09:00:00Z' };
  expect(groupNote(group('queued', [1]), { ...about, run })).toBe('');
});

it('held hosts count the decisions that they wait for, as soon as these are known', () => {
  const held = group('held', [1, 2]);
  expect(groupNote(held, { ...about, decisions: undefined })).toBe('waiting for a decision');
  expect(groupNote(held, { ...about, decisions: 1 })).toBe('one decision, above');
  expect(groupNote(held, about)).toBe('2 decisions, above');
});

it('says nothing of a group that all hosts have left while rows keep their places', () => {
  expect(groupNote({ status: 'held', hosts: [host(1, 'running')] }, about)).toBe('');
});
