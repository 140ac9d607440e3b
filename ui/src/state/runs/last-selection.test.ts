import type { RunDetail } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { json, load, serveApi } from '../testing.ts';

const { SelectionDraft } = await load<typeof import('../targets/selection-draft.svelte.ts')>(
  'state/targets/selection-draft.svelte.ts',
);
const { readHostsOf, readLastSelection } = await load<typeof import('./last-selection.ts')>(
  'state/runs/last-selection.ts',
);

const none = { targets: 0, groups: [], selector: null };
interface HostPage {
  targetRuns: { id?: number; targetId: number | null; targetName: string }[];
  nextCursor: string | null;
}
type Server = 'of this version' | 'that lists all hosts' | 'that lists hosts with their steps only';
const serve = (
  selection: object | null,
  pages: HostPage[] = [],
  {
    version = 'of this version',
    targetsTotal = 3,
    unusable,
  }: { version?: Server; targetsTotal?: number; unusable?: { code: string; paths: string[] } } = {},
) => {
  const page = (url: URL) => pages[Number(url.searchParams.get('cursor') ?? 0)];
  return serveApi({
    '/api/v1/runs': (_, response) => json(response, { items: [{ id: 7 }], nextCursor: null }),
    '/api/v1/runs/7': (_, response) => json(response, { id: 7, jobId: 1, selection, targetsTotal }),
    '/api/v1/targets/select': (_, response) => {
      if (unusable === undefined) return json(response, { total: 9 });
      const details = unusable.paths.map((path) => ({ path, message: 'Not found.' }));
      const error = { code: unusable.code, message: 'Not found.', requestId: 'r', details };
      json(response, { error }, unusable.code === 'invalid' ? 400 : 404);
    },
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

const [web, db] = [
  { id: 3, name: 'web' },
  { id: 4, name: 'db' },
];
const excluding = { ...none, selector: 'canary' };
test.each([
  [
    'a group',
    ['groupIds[1]'],
    'group web, without canary (1 target group is left out: deleted, or you may not see it)',
  ],
  [
    'an excluded group',
    ['exclude.groupIds[0]'],
    'target a of 3 (the others were deleted, or you may not run this job there)',
  ],
  [
    'all groups',
    ['groupIds[0]', 'groupIds[1]'],
    'target a of 3 (the others were deleted, or you may not run this job there)',
  ],
])(
  '%s that the reader may not use is left out, unless that would select something else',
  async (_, paths, words) => {
    const pages = [{ targetRuns: [{ targetId: 1, targetName: 'a' }], nextCursor: null }];
    const selection = { ...none, groups: [web, db], exclude: excluding, selected: 9 };
    await serve(selection, pages, { unusable: { code: 'not_found', paths } });
    const last = await readLastSelection(1);
    expect(last?.words).toBe(words);
    const draft = new SelectionDraft();
    last?.applyTo(draft);
    expect(draft.selection).toEqual(
      paths.length === 1 && paths[0] === 'groupIds[1]'
        ? { groupIds: [3], exclude: { selector: 'canary' } }
        : { targetIds: [1] },
    );
  },
);

test('of a selector that the reader can’t use, the hosts are offered', async () => {
  const pages = [{ targetRuns: [{ targetId: 1, targetName: 'a' }], nextCursor: null }];
  const selection = { ...none, selector: 'group:web', exclude: none, selected: 1 };
  await serve(selection, pages, { targetsTotal: 1, unusable: { code: 'invalid', paths: ['selector'] } });
  expect((await readLastSelection(1))?.words).toBe('target a');
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

test('of the hosts of a run, only those asked for are offered, and it is said if one of them is missing', async () => {
  await serve(none, [
    {
      targetRuns: [
        { id: 31, targetId: 1, targetName: 'web-1' },
        { id: 32, targetId: 2, targetName: 'web-2' },
        { id: 33, targetId: 3, targetName: 'web-3' },
        { id: 34, targetId: null, targetName: 'web-4' },
      ],
      nextCursor: null,
    },
  ]);
  const run = { id: 7, targetsTotal: 4, parameters: null } as RunDetail;
  const offered = async (...ids: number[]) => {
    const last = await readHostsOf(run, undefined, new Set(ids));
    const draft = new SelectionDraft();
    last?.applyTo(draft);
    return [last?.words, draft.selection?.targetIds];
  };
  expect(await offered(31, 33)).toEqual(['2 targets that the filter shows', [1, 3]]);
  expect(await offered(31, 34)).toEqual([expect.stringMatching(/^target web-1 of 2 \(the other was/), [1]]);
});
