import type { HostScanItem } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import { acceptable, importWords, isPickable, selectionWords, sharedWords } from './scan-words.ts';

const key = { keyType: 'ssh-ed25519', accepted: false, revoked: false, sharedBy: 0, sharedWith: [] };
const item = (finding: HostScanItem['finding'], keys: object[]) =>
  ({
    finding,
    keys: keys.map((one, at) => ({ ...key, fingerprint: `SHA256:${at}`, ...one })),
  }) as unknown as HostScanItem;

it('offers keys for approval that are neither accepted nor revoked, of targets that are new, added or changed', () => {
  const mixed = [{}, { accepted: true }, { revoked: true }];
  expect(acceptable(item('added', mixed)).map(({ fingerprint }) => fingerprint)).toEqual(['SHA256:0']);
  expect(isPickable(item('new', [{}]))).toBe(true);
  expect(isPickable(item('changed', [{}]))).toBe(true);
  expect(isPickable(item('revoked', [{}]))).toBe(false);
  expect(isPickable(item('certified', [{}]))).toBe(false);
  expect(isPickable(item('added', [{ accepted: true }]))).toBe(false);
});

it('says how targets were selected, and which targets share a key', () => {
  const exclude = { targets: 0, groups: [], selector: null };
  expect(selectionWords(null)).toBe('');
  expect(
    selectionWords({
      targets: 2,
      groups: [{ id: 1, name: 'web' }],
      selector: 'env=prod',
      exclude: { ...exclude, selector: 'canary' },
      selected: 9,
    }),
  ).toBe('2 picked targets + web + env=prod without canary');
  expect(sharedWords({ ...key, fingerprint: '', sharedBy: 5, sharedWith: ['a', 'b', 'c'] })).toBe(
    'shared with a, b, c and 2 more',
  );
});

it('says what an import of known_hosts will do, and once it is done, what it has done', () => {
  const counts = { accept: 2, authority: 1, revoke: 1, known: 4, conflict: 0, no_target: 0, unusable: 0 };
  const plan = { counts, targets: 1 } as unknown as Parameters<typeof importWords>[0];
  expect(importWords(plan, false)).toBe('accept 2 keys of 1 target, trust 1 authority, revoke 1 key');
  expect(importWords(plan, true)).toBe('2 keys of 1 target accepted, 1 authority trusted, 1 key revoked');
});
