import { expect, test } from 'vitest';
import { json, load, serveApi } from '../state/testing.ts';

const { ApiError, request } = await load<typeof import('./client.ts')>('api/client.ts');

async function failed(asked: Promise<unknown>) {
  const error = await asked.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ApiError)) throw new Error(`It failed by ${String(error)}.`);
  return error;
}
const body = (code: string) => ({ error: { code, message: 'No.', requestId: 'r' } });

test('a change without an answer may have been made; a refused one or a mere look has not changed anything', async () => {
  await serveApi({
    '/cut': (_request, response) => void response.destroy(),
    '/half': (_request, response) => {
      response
        .writeHead(201, { 'content-type': 'application/json', 'content-length': '100' })
        .write('{"id":');
      response.socket?.end();
    },
    '/gateway': (_request, response) => void response.writeHead(504).end('<h1>Timeout</h1>'),
    '/database': (_request, response) => json(response, body('unavailable'), 503),
    '/refused': (_request, response) => json(response, body('conflict'), 409),
  });
  for (const path of ['/cut', '/half', '/gateway', '/database']) {
    const change = await failed(request('POST', path, { body: {} }));
    expect([path, change.mayBeDone]).toEqual([path, true]);
    const read = await failed(request('GET', path));
    const look = await failed(request('POST', path, { body: {}, harmless: true }));
    expect([path, read.mayBeDone, look.mayBeDone]).toEqual([path, false, false]);
  }
  expect((await failed(request('DELETE', '/refused'))).mayBeDone).toBe(false);
});
