import { expect, it } from 'vitest';
import { eventually, json, load, serveApi } from '../testing.ts';

const { PlaceSearch } = await load<typeof import('./place-search.svelte.ts')>(
  'state/targets/place-search.svelte.ts',
);
const page = (...items: { id: number; name: string }[]) => ({ items, nextCursor: null });

it('finds all kinds by a part of the name; short lists are read once, long ones are searched by the server', async () => {
  const { asked } = await serveApi({
    '/api/v1/categories': (_request, response) =>
      json(response, page({ id: 2, name: 'Patching' }, { id: 3, name: 'other' })),
    '/api/v1/target-groups': (_request, response) => json(response, page({ id: 5, name: 'patch canaries' })),
    '/api/v1/segments': (_request, response) => json(response, page({ id: 6, name: 'patch-lab' })),
  });
  const search = new PlaceSearch();
  await search.search(' patch', ['category', 'target_group', 'segment']);
  expect(search.found).toEqual([
    { kind: 'category', id: 2, name: 'Patching' },
    { kind: 'target_group', id: 5, name: 'patch canaries' },
    { kind: 'segment', id: 6, name: 'patch-lab' },
  ]);
  await search.search('oth', ['category']);
  expect(search.found).toEqual([{ kind: 'category', id: 3, name: 'other' }]);
  expect(asked).toEqual([
    'GET /api/v1/categories',
    'GET /api/v1/target-groups?search=patch&limit=8',
    'GET /api/v1/segments?search=patch&limit=8',
  ]);
});

it('finds a run by its number', async () => {
  const search = new PlaceSearch();
  await search.search('#4127', ['run']);
  expect(search.found).toEqual([{ kind: 'run', id: 4127, name: '4127' }]);
  await search.search('4127x', ['run']);
  expect(search.found).toEqual([]);
});

it('shows the result of the last search, whichever answer comes first', async () => {
  let answerFirst: (() => void) | undefined;
  await serveApi({
    '/api/v1/jobs': (_request, response, url) => {
      const search = url.searchParams.get('search') ?? '';
      const answer = () => json(response, page({ id: 1, name: search }));
      if (search === 'a') answerFirst = answer;
      else answer();
    },
  });
  const search = new PlaceSearch();
  const first = search.search('a', ['job']);
  await eventually(() => answerFirst).toBeDefined();
  await search.search('ab', ['job']);
  answerFirst?.();
  await first;
  expect(search.found?.map(({ name }) => name)).toEqual(['ab']);
});

it('reports a failure, and reads again with the next search', async () => {
  let fails = true;
  await serveApi({
    '/api/v1/categories': (_request, response) =>
      fails
        ? json(response, { error: { code: 'unavailable', message: 'No database.', requestId: 'r' } }, 503)
        : json(response, page({ id: 1, name: 'Patching' })),
  });
  const search = new PlaceSearch();
  await search.search('', ['category']);
  expect([search.error?.code, search.found]).toEqual(['unavailable', undefined]);
  fails = false;
  await search.search('', ['category']);
  expect([search.error, search.found?.length]).toEqual([undefined, 1]);
});
