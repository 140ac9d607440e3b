import type { ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import { json, load, serveApi } from '../state/testing.ts';

const { findSegments } = await load<typeof import('./agents/segments.ts')>('api/agents/segments.ts');
const { listCredentialsByPage } =
  await load<typeof import('./agents/credentials.ts')>('api/agents/credentials.ts');
const { listAgentsOf } = await load<typeof import('./agents/agents.ts')>('api/agents/agents.ts');

const page = (...items: object[]) => ({ items, nextCursor: null });
const refuse = (response: ServerResponse, path: string, message: string) =>
  json(response, { error: { code: 'invalid', message, requestId: 'r', details: [{ path, message }] } }, 400);

it('a server of the previous version, which takes no query of segments, is asked for all', async () => {
  const { asked } = await serveApi({
    '/api/v1/segments': (_request, response, url) =>
      url.search === ''
        ? json(response, page({ id: 1, name: 'dmz-1' }, { id: 2, name: 'lab' }))
        : refuse(response, 'query.permission', 'Is not known here.'),
    '/api/v1/agents': (_request, response, url) =>
      url.searchParams.has('segmentIds')
        ? refuse(response, 'query.segmentIds', 'Is not known here; did you mean segmentId?')
        : json(response, page({ id: 7, segmentId: 2 })),
  });
  const found = await findSegments({ search: 'LA', permission: 'targets.edit', limit: 8 });
  expect(found).toEqual(page({ id: 2, name: 'lab' }));
  expect(await listAgentsOf([2])).toEqual([{ id: 7, segmentId: 2 }]);
  expect(await listAgentsOf([])).toEqual([]);
  expect(asked).toHaveLength(4);
});

it('a server that can’t sort credentials by the day on which they expire lists them by name', async () => {
  const { asked } = await serveApi({
    '/api/v1/credentials': (_request, response, url) =>
      url.searchParams.has('sort')
        ? refuse(response, 'query.sort', 'Is not known here.')
        : json(response, page({ id: 'c', expiresOn: url.searchParams.get('expiresBy') })),
  });
  const found = await listCredentialsByPage({ expiresBy: '2026-12-24', sort: 'expiry' });
  expect(found).toEqual(page({ id: 'c', expiresOn: '2026-12-24' }));
  expect(asked).toHaveLength(2);
});

it('another mistake in a query stays one', async () => {
  const { asked } = await serveApi({
    '/api/v1/segments': (_request, response) => refuse(response, 'query.cursor', 'Is not a cursor.'),
  });
  await expect(findSegments({ cursor: 'x' })).rejects.toMatchObject({ code: 'invalid' });
  expect(asked).toHaveLength(1);
});
