import { expect, test } from 'vitest';
import { load } from '../testing.ts';

const { SelectionDraft } = await load<typeof import('./selection-draft.svelte.ts')>(
  'state/targets/selection-draft.svelte.ts',
);

test('there is no selection if nothing is chosen, or only exclusions', () => {
  const draft = new SelectionDraft();
  expect(draft.selection).toBeUndefined();
  draft.exclude.selector = 'canary';
  expect(draft.selection).toBeUndefined();
});

test('what is chosen is sent, without empty parts', () => {
  const draft = new SelectionDraft();
  draft.pick([{ id: 3, name: 'c' }]);
  expect(draft.selection).toEqual({ targetIds: [3] });
  draft.include.groups = [{ id: 7, name: 'web' }];
  draft.include.selector = ' env=prod ';
  draft.exclude.groups = [{ id: 8, name: 'canaries' }];
  expect(draft.selection).toEqual({
    targetIds: [3],
    groupIds: [7],
    selector: 'env=prod',
    exclude: { groupIds: [8] },
  });
  draft.clear();
  expect(draft.selection).toBeUndefined();
});

test('a selector that can’t be parsed is not sent', () => {
  const draft = new SelectionDraft();
  draft.pick([{ id: 3, name: 'c' }]);
  draft.exclude.selector = 'env=';
  expect(draft.selection).toBeUndefined();
});

test('a target that is left out is unpicked, and excluded if a group or selector could bring it back', () => {
  const draft = new SelectionDraft();
  draft.pick([
    { id: 1, name: 'a' },
    { id: 2, name: 'b' },
  ]);
  draft.leaveOut([{ id: 2, name: 'b' }]);
  expect(draft.selection).toEqual({ targetIds: [1] });
  draft.include.selector = 'os=linux';
  draft.leaveOut([
    { id: 1, name: 'a' },
    { id: 5, name: 'e' },
  ]);
  expect(draft.selection).toEqual({ selector: 'os=linux', exclude: { targetIds: [1, 5] } });
});
