import type { ErrorBody, SiteRule } from '@opsconductor/protocol';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newMasterKey } from '../../../credentials/at-rest/master-key.ts';
import { setupApp, type TestApp } from '../../testing.ts';
import { siteRuleRoutes } from './site-rules.ts';

let t: TestApp;
beforeEach(async () => {
  t = await setupApp(({ sql }) => siteRuleRoutes({ sql, masterKey: newMasterKey() }));
});
afterEach(() => t.close());

test('a cursor that no list gave out is named where the request has it: in the body, or in the query', async () => {
  const { token } = await t.user('root', ['admin']);
  const rule = { name: 'bounded', condition: 'has(job.timeout)', message: 'Set a timeout.' };
  const made = await t.request('POST', '/api/v1/site-rules', { token, json: rule });
  const { id } = (await made.json()) as SiteRule;
  const pathsOf = async (response: Response) =>
    ((await response.json()) as ErrorBody).error.details?.map(({ path }) => path);
  const tried = await t.request('POST', '/api/v1/site-rules/try', { token, json: { rule, cursor: 'abc' } });
  expect(await pathsOf(tried)).toEqual(['cursor']);
  const listed = await t.request('GET', `/api/v1/site-rules/${id}/violations?cursor=abc`, { token });
  expect(await pathsOf(listed)).toEqual(['query.cursor']);
});
