import { expect, test } from 'vitest';
import { json, load, serveApi } from '../testing.ts';

const { SelectionDraft } = await load<typeof import('../targets/selection-draft.svelte.ts')>(
  'state/targets/selection-draft.svelte.ts',
);
const { readLastSelection } = await load<typeof import('./last-selection.ts')>(
  'state/runs/last-selection.ts',
);

const none = { targets: 0, groups: [], selector: null };
interface HostPage {
  targetRuns: { targetId: number | null; targetName: string }[];
  nextCursor: string | null;
}
const serve = (selection: object | null, pages: HostPage[] = [], isEarlier = false) => {
  const page = (url: URL) => pages[Number(url.searchParams.get('cursor') ?? 0)];
  return serveApi({
    '/api/v1/runs': (_, response) => json(response, { items: [{ id: 7 }], nextCursor: null }),
    '/api/v1/runs/7': (_, response) => json(response, { id: 7, selection }),
    '/api/v1/runs/7/target-runs': (_, response, url) => {
      if (isEarlier)
        return json(response, { error: { code: 'not_found', message: 'Gone.', requestId: 'r' } }, 404);
      const { targetRuns: items, nextCursor } = page(url) ?? {};
      json(response, { items, nextCursor });
    },
    '/api/v1/runs/7/steps': (_, response, url) => json(response, page(url)),
  });
};

test('groups and selectors are offered as they were given', async () => {
  await serve({
    ...none,
    groups: [{ id: 3, name: 'web' }],
    exclude: { ...none, selector: 'canary' },
    selected: 9,
  });
  const last = await readLastSelection(1);
  expect(last?.words).toBe('group web, without canary');
  const draft = new SelectionDraft();
  draft.pick([{ id: 99, name: 'other' }]);
  last?.applyTo(draft);
  expect(draft.selection).toEqual({ groupIds: [3], exclude: { selector: 'canary' } });
});

test.each([
  ['', false],
  [', also by a server that lists them with their steps only', true],
])(
  'what was asked for by id is offered as the hosts that the run had, but for those that are gone%s',
  async (_, isEarlier) => {
    const pages = [
      {
        targetRuns: [
          { targetId: 1, targetName: 'a' },
          { targetId: null, targetName: 'gone' },
        ],
        nextCursor: '1',
      },
      { targetRuns: [{ targetId: 2, targetName: 'b' }], nextCursor: null },
    ];
    const { asked } = await serve({ ...none, targets: 3, exclude: none, selected: 3 }, pages, isEarlier);
    const last = await readLastSelection(1);
    expect(last?.words).toBe('the same 2 targets');
    const draft = new SelectionDraft();
    last?.applyTo(draft);
    expect(draft.selection).toEqual({ targetIds: [1, 2] });
    expect(asked.some((line) => line.includes('/steps'))).toBe(isEarlier);
  },
);

test('nothing is offered if the reader may not see the selection', async () => {
  await serve(null);
  expect(await readLastSelection(1)).toBeUndefined();
});
