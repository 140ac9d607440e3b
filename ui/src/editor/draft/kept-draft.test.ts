import type { Me } from '@opsconductor/protocol';
import { afterEach, expect, it, vi } from 'vitest';
import { load } from '../../state/testing.ts';

const { session } = await load<typeof import('../../state/session.svelte.ts')>('state/session.svelte.ts');
const { keepDraft, keptDraft } = await load<typeof import('./kept-draft.ts')>('editor/draft/kept-draft.ts');
afterEach(() => {
  vi.unstubAllGlobals();
  session.me = undefined;
});

it('a kept draft belongs to its author: another user in the same tab does not get it, and it is discarded', () => {
  const kept = new Map<string, string>();
  vi.stubGlobal('sessionStorage', {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => kept.set(key, value),
    removeItem: (key: string) => kept.delete(key),
  });
  session.me = { id: 1, name: 'vera' } as Me;
  keepDraft(7, { text: 'name: secret plan', version: 2 });
  expect(keptDraft(7)).toEqual({ text: 'name: secret plan', version: 2 });
  session.me = { id: 2, name: 'otto' } as Me;
  expect(keptDraft(7)).toBeUndefined();
  expect(kept.size).toBe(0);
});
