import { expect, test } from 'vitest';
import { load } from '../state/testing.ts';

const { ApiError } = await load<typeof import('../api/client.ts')>('api/client.ts');
const { ChangedFields } = await load<typeof import('./changed-fields.svelte.ts')>(
  'forms/changed-fields.svelte.ts',
);

interface Fields {
  host: string;
  labels: Record<string, string>;
  port: number | null;
}
const opened: Fields = { host: '10.0.0.5', labels: { env: 'prod', tier: 'web' }, port: null };
const changedTo = (now: Fields) => new ChangedFields<Fields>(opened, opened, async () => now);
const refusal = (...paths: string[]) =>
  new ApiError('conflict', 'It was changed meanwhile.', {
    details: paths.map((path) => ({ path, message: 'Is another by now.' })),
  });

test('only the fields that a person has changed are sent, with their previous values', async () => {
  const changed = changedTo(opened);
  const sent: object[] = [];
  const send = async (change: Partial<Fields>) => {
    sent.push(change);
    const { host = opened.host, labels = opened.labels, port = opened.port } = change;
    return { host, labels, port };
  };
  await changed.save({ ...opened, labels: { tier: 'web', env: 'prod' } }, send);
  expect(sent).toEqual([]);
  await changed.save({ ...opened, host: '10.0.0.9', port: 2222 }, send);
  expect(sent).toEqual([{ host: '10.0.0.9', port: 2222, expected: { host: '10.0.0.5', port: null } }]);
  // From then on, changes are detected against what was saved.
  await changed.save({ ...opened, host: '10.0.0.9', port: 22 }, send);
  expect(sent[1]).toEqual({ port: 22, expected: { port: 2222 } });
});

test('a value that the form shows in a different form from the server’s is not a change', () => {
  const shown = { ...opened, host: opened.host.trim() };
  const changed = new ChangedFields<Fields>({ ...opened, host: '10.0.0.5 ' }, shown, async () => opened);
  expect(changed.change(shown)).toBeUndefined();
  expect(changed.change({ ...shown, host: 'x' })).toEqual({ host: 'x', expected: { host: '10.0.0.5 ' } });
});

test('a field that somebody else has changed is reported, and saving again overwrites it', async () => {
  const now = { ...opened, host: '10.0.0.7', port: 22 };
  const changed = changedTo(now);
  const typed = { ...opened, host: '10.0.0.9', labels: {} };
  const refused = changed.save(typed, () => Promise.reject(refusal('expected.host')));
  await expect(refused).rejects.toMatchObject({ code: 'conflict' });
  expect(changed.conflicts).toEqual([{ field: 'host', now: '10.0.0.7' }]);
  const sent: object[] = [];
  await changed.save(typed, async (change) => {
    sent.push(change);
    return { ...now, ...typed };
  });
  expect(changed.conflicts).toEqual([]);
  // The port that somebody else has changed is not sent.
  expect(sent).toEqual([
    { host: '10.0.0.9', labels: {}, expected: { host: '10.0.0.7', labels: opened.labels } },
  ]);
});

test('after a conflict, entering the original value restores it, and entering the other’s value sends nothing', async () => {
  const changed = changedTo({ ...opened, host: '10.0.0.7' });
  await changed
    .save({ ...opened, host: '10.0.0.9' }, () => Promise.reject(refusal('expected.host')))
    .catch(() => {});
  expect(changed.change(opened)).toEqual({ host: '10.0.0.5', expected: { host: '10.0.0.7' } });
  expect(changed.change({ ...opened, host: '10.0.0.7' })).toBeUndefined();
});

test('a conflicting field that already has the entered value counts as saved: the answer was lost', async () => {
  const typed = { ...opened, host: '10.0.0.9', port: 22 };
  const changed = changedTo({ ...opened, host: '10.0.0.9' });
  const sent: object[] = [];
  await changed.save(typed, async (change) => {
    sent.push(change);
    if ('host' in change) throw refusal('expected.host');
    return typed;
  });
  expect(sent[1]).toEqual({ port: 22, expected: { port: null } });
  expect(changed.conflicts).toEqual([]);
});

test('other refusals are not reported as somebody else’s change', async () => {
  const changed = changedTo(opened);
  const taken = changed.save({ ...opened, host: 'x' }, () => Promise.reject(refusal('name')));
  await expect(taken).rejects.toMatchObject({ code: 'conflict' });
  expect(changed.conflicts).toEqual([]);
});
