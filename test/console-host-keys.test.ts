// Host keys, as a person scans, compares, accepts and replaces them in the console.
import type { Target } from '@opsconductor/protocol';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ConsoleSystem, eventually, missing } from './console-browser.ts';

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined) c = await ConsoleSystem.start();
}, 120_000);
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

const focusedText = (page: Page) => page.evaluate<string>('document.activeElement.innerText.trim()');

test('a target is scanned from the list, its new key accepted in one step, and it is reachable', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, sshd, segmentId } = c.system;
  await api.made('/api/v1/targets', { segmentId, name: 'unseen', host: sshd.host, port: sshd.port });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/targets`);
  await page.getByRole('checkbox', { name: 'Select unseen', exact: true }).check();
  await page.getByRole('button', { name: 'Scan…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Scan 1 target' }).click();
  await page.getByText('done, 1 target').waitFor();
  await page.getByRole('button', { name: 'Accept the keys of all 1 new target…' }).click();
  await dialog.getByText('unseen', { exact: true }).waitFor();
  await dialog.getByRole('button', { name: 'Accept 1 key' }).click();
  await page.getByText('1 key of 1 target.').waitFor();
  await page.getByRole('button', { name: /^same 1$/ }).waitFor();

  await page.goto(`${c.url}/targets`);
  await page.getByRole('button', { name: /^unseen / }).click();
  const panel = page.getByRole('complementary');
  await panel.getByText('accepted', { exact: true }).waitFor();
  await panel.getByRole('button', { name: 'Check now' }).click();
  await panel.getByText(/^answers, \d+ ms$/).waitFor();
  // Back to where it was opened, not to the top of the page.
  await panel.getByRole('button', { name: 'Close' }).click();
  await eventually(() => focusedText(page)).toMatch(/^unseen/);
  expect(faults).toEqual([]);
});

test('a known_hosts file is planned by line before it is imported, and an authority is trusted and removed', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, sshd, segmentId } = c.system;
  await api.made('/api/v1/targets', { segmentId, name: 'listed', host: 'listed.example', port: 22 });
  const key = sshd.hostKeyLine.split(' ').slice(0, 2).join(' ');
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/targets/known-hosts?segmentId=${segmentId}`);
  await page
    .getByRole('textbox', { name: 'Text' })
    .fill(`listed.example ${key}\nnobody.example ${key}\nlisted.example ssh-dss AAAA\n`);
  await page.getByRole('button', { name: 'Plan the import' }).click();
  await page.getByRole('button', { name: /^unusable 1$/ }).waitFor();
  await page.getByRole('button', { name: /^no target 1$/ }).waitFor();
  await page.getByRole('button', { name: 'Import: accept 1 key of 1 target' }).click();
  await page.getByText('Imported 1 key of 1 target accepted.').waitFor();

  await page.goto(`${c.url}/targets/host-trust`);
  await page.getByRole('button', { name: 'Trust an authority…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('textbox', { name: 'Public key' }).fill(`* ${key}`);
  await dialog.getByText(/Leave out what comes before the key type/).waitFor();
  await dialog.getByRole('textbox', { name: 'Public key' }).fill(key);
  await dialog.getByRole('button', { name: 'Trust it' }).click();
  const authorities = page.getByRole('region', { name: 'Host authorities' });
  await authorities.getByRole('button', { name: 'Remove…' }).click();
  // Somebody else is faster: it is told of, and the list has it no more.
  const path = `/api/v1/segments/${segmentId}/host-trust`;
  const { items } = (await api.get<{ items: { id: number }[] }>(path)).body;
  await api.send('DELETE', `${path}/${items[0]?.id}`);
  await dialog.getByRole('button', { name: 'Remove the authority' }).click();
  await dialog.getByText(/has no such host authority or revoked key any more/).waitFor();
  await authorities.getByText(/^None\./).waitFor();
  expect(faults).toEqual([]);
});

/** A target of which another key is accepted than its server has, and what it showed to a test of the connection. */
async function changedTarget(name: string): Promise<{ id: number }> {
  const { api, sshd, segmentId } = c.system;
  const hostKeyFingerprint = `SHA256:${'A'.repeat(43)}`;
  const target = { segmentId, name, host: sshd.host, port: sshd.port, hostKeyFingerprint };
  const made = await api.made<{ id: number }>('/api/v1/targets', target);
  const [{ credentialId } = { credentialId: null }] = await c.system.sql<{ credentialId: string | null }[]>`
    select credential_id from targets where id = ${c.system.targetId}`;
  await api.put(`/api/v1/targets/${made.id}`, { name, host: sshd.host, credentialId });
  const tested = await api.made<{ reason: string | null }>(`/api/v1/targets/${made.id}/test`);
  expect(tested.reason).toBe('host_key_mismatch');
  return made;
}

test('a host key to compare is in sight whole, at any width', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { id } = await changedTarget('unbroken');
  await c.system.sql`delete from target_host_keys where target_id = ${id}`;
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/targets`);
  await page.getByRole('button', { name: /^unbroken / }).click();
  const panel = page.getByRole('complementary');
  await panel.getByRole('button', { name: 'Test connection' }).click();
  await panel.getByRole('button', { name: 'Accept this key…' }).waitFor();
  await panel
    .getByRole('status')
    .getByText(/^SHA256:/)
    .waitFor();
  for (const width of [1440, 390]) {
    await page.setViewportSize({ width, height: 900 });
    const [content, sight] = await panel.evaluate((aside) => [aside.scrollWidth, aside.clientWidth]);
    expect(content).toBeLessThanOrEqual(sight as number);
  }
  expect(faults).toEqual([]);
});

test('a changed host key is shown beside the known one where agents are, replaced, and the host is logged in to', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  await changedTarget('reinstalled');
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/agents`);
  const waiting = page.getByRole('region', { name: 'Host keys', exact: true });
  await waiting.getByText('key changed, refused').waitFor();
  await waiting.getByText('reinstalled', { exact: true }).waitFor();
  await waiting.getByRole('button', { name: 'Replace key…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('The accepted key is removed.').waitFor();
  await dialog.getByRole('button', { name: 'It is the same: replace' }).click();
  await waiting.getByText('reinstalled', { exact: true }).waitFor({ state: 'detached' });

  await page.goto(`${c.url}/targets?hostKey=accepted`);
  await page.getByRole('button', { name: /^reinstalled / }).click();
  const panel = page.getByRole('complementary');
  await panel.getByRole('button', { name: 'Test connection' }).click();
  await panel.getByText(/^Connected/).waitFor();
  await page.getByRole('combobox', { name: 'Host key' }).selectOption('changed');
  await page.getByText('No targets match').waitFor();
  expect(faults).toEqual([]);
});

test('a scan leads to the comparison of a changed key, and its rows stay apart in a window that becomes narrow', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { id } = await changedTarget('swapped');
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/targets`);
  for (const name of ['swapped', 'host'])
    await page.getByRole('checkbox', { name: `Select ${name}`, exact: true }).check();
  await page.getByRole('button', { name: 'Scan…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Scan 2 targets' }).click();
  await page.getByText('done, 2 targets').waitFor();
  const rows = page.getByRole('list', { name: 'Targets of the scan' }).getByRole('listitem');
  await rows.nth(1).waitFor();
  for (const width of [390, 1440, 390]) {
    await page.setViewportSize({ width, height: 900 });
    await eventually(() =>
      rows.evaluateAll((all) => all.every((row) => row.scrollHeight <= row.clientHeight + 1)),
    ).toBe(true);
  }
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.getByRole('button', { name: 'Compare', exact: true }).click();
  await page.getByRole('button', { name: 'Compare and replace 1…' }).click();
  await dialog.getByText('ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub').waitFor();
  await dialog.getByRole('checkbox', { name: /^I have compared the key of swapped/ }).check();
  await dialog.getByRole('button', { name: 'Replace the keys of 1 target' }).click();
  await page.getByText('1 key of 1 target; 1 known key replaced.').waitFor();
  await c.system.api.send('DELETE', `/api/v1/targets/${id}`);
  expect(faults).toEqual([]);
});

test('only those new host keys are accepted that somebody ticked, whatever comes until the click', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, sshd, segmentId } = c.system;
  const { credentialId } = (await api.get<Target>(`/api/v1/targets/${c.system.targetId}`)).body;
  const pending = async (name: string) => {
    const { id } = await api.made<{ id: number }>('/api/v1/targets', {
      segmentId,
      name,
      host: sshd.host,
      port: sshd.port,
      credentialId,
    });
    const tested = await api.made<{ reason: string | null }>(`/api/v1/targets/${id}/test`);
    expect(tested.reason).toBe('host_key_unknown');
    return id;
  };
  const [first, second] = [await pending('installed-1'), await pending('installed-3')];
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/agents`);
  const waiting = page.getByRole('region', { name: 'Host keys', exact: true });
  const box = (name: string) => waiting.getByRole('checkbox', { name: new RegExp(`^${name} `) });
  for (const name of ['installed-1', 'installed-3']) {
    expect(await box(name).isChecked()).toBe(false);
    await box(name).check();
  }
  const late = await pending('installed-2');
  await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
  await box('installed-2').waitFor();
  // No row has moved under the pointer.
  const names = await waiting
    .locator('ul')
    .getByText(/^installed-/)
    .allTextContents();
  expect(names.slice(-1)).toEqual(['installed-2']);
  await waiting.getByRole('button', { name: 'Accept 2 keys…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Accept 2 keys of 2 targets?' });
  await dialog.getByText('installed-1, installed-3', { exact: true }).waitFor();
  await dialog.getByRole('button', { name: 'Accept 2 keys' }).click();
  await box('installed-1').waitFor({ state: 'detached' });
  await eventually(() => focusedText(page)).toMatch(/^Host keys$/);
  expect(await box('installed-2').isChecked()).toBe(false);
  const states = await c.system.sql`
    select target_id as id, state from target_host_keys where target_id = any(${[first, second, late]}) order by target_id`;
  expect(states).toEqual([
    { id: first, state: 'accepted' },
    { id: second, state: 'accepted' },
    { id: late, state: 'pending' },
  ]);
  expect(faults).toEqual([]);
});

test('who may not approve host keys sees that one changed, is offered nothing to replace it, and is refused', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, segmentId } = c.system;
  const { id } = await changedTarget('suspicious');
  const user = await api.made<{ id: number }>('/api/v1/users', { name: 'otto' });
  const scope = { kind: 'segment', id: segmentId };
  await api.made('/api/v1/grants', { userId: user.id, role: 'operator', scope });
  const { page, faults } = await c.withSession({ name: 'otto' });
  await page.goto(`${c.url}/agents`);
  const waiting = page.getByRole('region', { name: 'Host keys', exact: true });
  await waiting.getByText('suspicious', { exact: true }).waitFor();
  expect(await waiting.getByRole('button', { name: 'Replace key…' }).count()).toBe(0);
  await page.goto(`${c.url}/targets?hostKey=changed`);
  await page.getByRole('button', { name: /^suspicious / }).click();
  const panel = page.getByRole('complementary');
  await panel.getByRole('heading', { name: 'Host keys' }).waitFor();
  expect(await panel.getByRole('button', { name: /^(Compare|Accept)/ }).count()).toBe(0);
  expect(faults).toEqual([]);
  // What the page leaves out the server refuses.
  const keys = await c.system.sql<{ fingerprint: string }[]>`
    select fingerprint from target_host_keys where target_id = ${id} and state = 'changed'`;
  const reply = await page.evaluate(
    async ([path, body]) => {
      const headers = { 'Content-Type': 'application/json' };
      const answer = await fetch(path, { method: 'POST', headers, body });
      return { status: answer.status, text: await answer.text() };
    },
    [
      `/api/v1/targets/${id}/host-keys`,
      JSON.stringify({ ...keys[0], replaces: `SHA256:${'A'.repeat(43)}` }),
    ] as const,
  );
  expect(reply).toMatchObject({ status: 403, text: expect.stringContaining('host_keys.approve') });
});
