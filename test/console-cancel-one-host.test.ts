// A person cancels one host of a run in the console, on a wide screen and on a phone, and the run goes on.
import type { Target, TargetRunPage, User } from '@opsconductor/protocol';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ConsoleSystem, eventually, missing } from './console-browser.ts';

let c: ConsoleSystem;
let targetIds: number[];
beforeAll(async () => {
  if (missing !== undefined) return;
  c = await ConsoleSystem.start();
  const { api, targetId, sql } = c.system;
  const { host, port, segmentId, credentialId } = (await api.get<Target>(`/api/v1/targets/${targetId}`)).body;
  const [key] = await sql<[{ fingerprint: string }]>`
    select fingerprint from target_host_keys where target_id = ${targetId} and state = 'accepted'`;
  const other = { name: 'other', host, port, segmentId, credentialId, hostKeyFingerprint: key.fingerprint };
  targetIds = [targetId, (await api.made<{ id: number }>('/api/v1/targets', other)).id];
});
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

test.for([1440, 390])(
  'at %i px, one host is cancelled after a question, and says who did it; the other goes on',
  async (width, { skip }) => {
    if (missing !== undefined) skip(missing);
    const gate = await c.system.gate();
    const { id } = await c.system.run([`echo up; ${gate.wait}`, 'echo on'], { targetIds });
    const { body } = await c.system.api.get<TargetRunPage>(`/api/v1/runs/${id}/target-runs`);
    const [mine] = body.items;
    const { page, faults } = await c.withSession({ width });
    await page.goto(`${c.url}/runs/${id}?host=${mine?.id}`);
    await page.locator('.lines').getByText('up').waitFor();
    await page.getByRole('button', { name: 'Cancel host…' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('The rest of the run goes on.').waitFor();
    await dialog.getByRole('button', { name: 'Let it run' }).click();
    if (width > 1000) await page.keyboard.press('C');
    else await page.getByRole('button', { name: 'Cancel host…' }).click();
    await dialog.getByRole('button', { name: 'Cancel host' }).click();
    await page
      .locator('.output')
      .getByText(/asked for it at/)
      .waitFor();
    await page.locator('.output').getByText('Host cancelled.').waitFor();
    expect(await page.getByRole('button', { name: 'Cancel host…' }).count()).toBe(0);
    const steps = await c.system.steps(id);
    expect(steps.map(({ status }) => status)).toEqual(['cancelled', 'cancelled', 'running', 'pending']);
    await gate.open();
    await page.goto(`${c.url}/runs/${id}`);
    await page.locator('.title').getByText('cancelled').waitFor();
    const after = await c.system.steps(id);
    expect(after.slice(2).map(({ status }) => status)).toEqual(['succeeded', 'succeeded']);
    expect(faults).toEqual([]);
  },
);

test('an operator cancels one host on a phone, from the list of hosts', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { api, targetId } = c.system;
  const user = await api.made<User>('/api/v1/users', { name: 'otto' });
  await api.made('/api/v1/grants', { userId: user.id, role: 'operator', scope: null });
  const gate = await c.system.gate();
  const { id } = await c.system.run([`echo up; ${gate.wait}`], { targetIds });
  const { page, faults } = await c.withSession({ name: 'otto', width: 390 });
  await page.goto(`${c.url}/runs/${id}`);
  const { name } = (await api.get<Target>(`/api/v1/targets/${targetId}`)).body;
  await page
    .getByRole('row', { name: new RegExp(name) })
    .getByRole('gridcell')
    .nth(1)
    .click();
  const button = page.getByRole('button', { name: 'Cancel host…' });
  await button.waitFor();
  expect((await button.boundingBox())?.height).toBeGreaterThanOrEqual(44);
  await button.click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel host' }).click();
  await page
    .locator('.output')
    .getByText(/otto asked for it at/)
    .waitFor();
  // Until it has ended, the cancelled host's command might take what is meant for the other.
  await page.locator('.output').getByText('Host cancelled.').waitFor();
  await gate.open();
  await eventually(async () => (await c.system.steps(id)).map(({ status }) => status).toSorted()).toEqual([
    'cancelled',
    'succeeded',
  ]);
  expect(faults).toEqual([]);
});
