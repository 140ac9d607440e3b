import { randomBytes } from 'node:crypto';
import { limits, type StoredFile } from '@opsconductor/protocol';
import { expect, onTestFinished, test, vi } from 'vitest';
import { newMasterKey } from '../../credentials/at-rest/master-key.ts';
import { UserTurns } from '../../turns/user-turns.ts';
import { setupApp } from '../testing.ts';
import { fileRoutes } from './files.ts';

test('a file is read in turns with other users, when what has arrived is compared, when it is finished and when it is downloaded', async () => {
  const masterKey = newMasterKey();
  const t = await setupApp(({ sql }) =>
    fileRoutes({ sql, masterKey, keys: {} as never, maxStoredBytes: 1_000_000 }),
  );
  onTestFinished(() => t.close());
  const turns = vi.spyOn(UserTurns.prototype, 'take');
  onTestFinished(() => turns.mockRestore());
  const { id: userId, token } = await t.user('ada', ['author']);
  const bytes = randomBytes(700);
  const json = { name: 'app.tar', size: bytes.length };
  const begun = await t.request('POST', '/api/v1/files', { token, json });
  const path = `/api/v1/files/${((await begun.json()) as StoredFile).id}`;
  const sent = await t.request('PUT', `${path}/content?offset=0`, {
    token,
    body: new Blob([bytes]).stream(),
    headers: { 'Content-Type': 'application/octet-stream' },
  });
  expect(sent.status).toBe(200);
  expect(turns).not.toHaveBeenCalled();
  const received = await t.request('GET', `${path}/received`, { token });
  expect(await received.json()).toMatchObject({ receivedBytes: bytes.length });
  expect(turns).toHaveBeenCalledWith(String(userId));
  turns.mockClear();
  expect((await t.request('POST', `${path}/finish`, { token, json: {} })).status).toBe(200);
  expect(turns).toHaveBeenCalledWith(String(userId));
  turns.mockClear();
  const loaded = await t.request('GET', `${path}/content`, { token });
  expect(Buffer.from(await loaded.arrayBuffer()).equals(bytes)).toBe(true);
  expect(turns).toHaveBeenCalledWith(String(userId));
});

test.each([
  ['token', 'delete from api_tokens where user_id = $1'],
  ['right to read', 'delete from role_grants where user_id = $1'],
])('a download ends with the %s of its reader, however slowly it is read', async (_, withdraw) => {
  const masterKey = newMasterKey();
  const t = await setupApp(({ sql }) =>
    fileRoutes({ sql, masterKey, keys: {} as never, maxStoredBytes: 10_000_000 }),
  );
  onTestFinished(() => t.close());
  const author = (await t.user('ada', ['author'])).token;
  const bytes = randomBytes(3 * limits.contentPartBytes);
  const json = { name: 'app.tar', size: bytes.length };
  const begun = await t.request('POST', '/api/v1/files', { token: author, json });
  const path = `/api/v1/files/${((await begun.json()) as StoredFile).id}`;
  await t.request('PUT', `${path}/content?offset=0`, {
    token: author,
    body: new Blob([bytes]).stream(),
    headers: { 'Content-Type': 'application/octet-stream' },
  });
  await t.request('POST', `${path}/finish`, { token: author, json: {} });
  const { id, token } = await t.user('eve', ['viewer']);
  const reader = (await t.request('GET', `${path}/content`, { token })).body?.getReader();
  expect((await reader?.read())?.value?.length).toBeGreaterThan(0);
  await t.sql.unsafe(withdraw, [id]);
  t.authenticator.forgetUser(id);
  const rest = async () => {
    while ((await reader?.read())?.done === false);
  };
  await expect(rest()).rejects.toThrow('has ended');
});
