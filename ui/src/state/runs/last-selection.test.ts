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
type Server = 'of this version' | 'that lists all hosts' | 'that lists hosts with their steps only';
const serve = (
  selection: object | null,
  pages: HostPage[] = [],
  { version = 'of this version', targetsTotal = 3 }: { version?: Server; targetsTotal?: number } = {},
) => {
  const page = (url: URL) => pages[Number(url.searchParams.get('cursor') ?? 0)];
  return serveApi({
    '/api/v1/runs': (_, response) => json(response, { items: [{ id: 7 }], nextCursor: null }),
    '/api/v1/runs/7': (_, response) => json(response, { id: 7, selection, targetsTotal }),
    '/api/v1/runs/7/target-runs': (_, response, url) => {
      if (version === 'that lists hosts with their steps only')
        return json(response, { error: { code: 'not_found', message: 'Gone.', requestId: 'r' } }, 404);
      if (version === 'that lists all hosts' && url.searchParams.has('mayRun')) {
        const details = [{ path: 'query.mayRun', message: 'Is not known here.' }];
        return json(response, { error: { code: 'invalid', message: 'No.', requestId: 'r', details } }, 400);
      }
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

test.each<Server>(['of this version', 'that lists all hosts', 'that lists hosts with their steps only'])(
  'what was asked for by id is offered as the hosts that the run had, but for those that are gone, by a server %s',
  async (version) => {
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
    const { asked } = await serve({ ...none, targets: 3, exclude: none, selected: 3 }, pages, { version });
    const last = await readLastSelection(1);
    expect(last?.words).toBe(
      'the same 2 targets of 3 (the other was deleted, or you may not run this job there)',
    );
    const draft = new SelectionDraft();
    last?.applyTo(draft);
    expect(draft.selection).toEqual({ targetIds: [1, 2] });
    expect(asked.some((line) => line.includes('/steps'))).toBe(
      version === 'that lists hosts with their steps only',
    );
  },
);

test.each([
  [1, 'target a'],
  [4, 'target a of 4 (the others were deleted, or you may not run this job there)'],
])('only the hosts that the reader may run the job on are offered, of %i', async (targetsTotal, words) => {
  const pages = [{ targetRuns: [{ targetId: 1, targetName: 'a' }], nextCursor: null }];
  const selection = { ...none, targets: targetsTotal, exclude: none, selected: targetsTotal };
  const { asked } = await serve(selection, pages, { targetsTotal });
  expect((await readLastSelection(1))?.words).toBe(words);
  expect(asked.at(-1)).toContain('mayRun=true');
});

test('nothing is offered if the reader may not see the selection', async () => {
  await serve(null);
  expect(await readLastSelection(1)).toBeUndefined();
});
