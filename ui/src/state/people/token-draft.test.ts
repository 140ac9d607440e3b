import { expect, it } from 'vitest';
import { load } from '../testing.ts';

const { TokenDraft } = await load<typeof import('./token-draft.svelte.ts')>(
  'state/people/token-draft.svelte.ts',
);
const segment = { kind: 'segment', id: 1, name: 'dmz-1' } as const;

it('a token has all of its user’s rights unless it is limited', () => {
  const draft = new TokenDraft();
  draft.name = ' pipeline ';
  expect(draft.request()).toEqual({ name: 'pipeline', expiresInDays: 90, permissions: null, scopes: null });
});

it('limits must leave at least one permission and one place', () => {
  const draft = new TokenDraft();
  draft.allPermissions = false;
  draft.anywhere = false;
  expect(draft.missing).toBe('Choose at least one permission.');
  draft.choose('run', true);
  expect(draft.missing).toBe('Choose at least one place.');
  draft.addScope(segment);
  draft.addScope({ ...segment });
  expect([draft.missing, draft.request().permissions, draft.request().scopes]).toEqual([
    undefined,
    ['run'],
    [{ kind: 'segment', id: 1 }],
  ]);
  draft.removeScope(segment);
  expect(draft.missing).toBe('Choose at least one place.');
});

it('what was chosen counts only if the token is limited', () => {
  const draft = new TokenDraft();
  draft.choose('run', true);
  draft.addScope(segment);
  expect([draft.request().permissions, draft.request().scopes]).toEqual([null, null]);
});
