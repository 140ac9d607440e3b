// Dialogs and forms of the console, with the stand-in for the server: what a form says of its fields, and that nothing
// typed is lost by a key.
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { noBrowser as missing, StandIn } from './console-stand-in.ts';

const standIn = new StandIn();
beforeAll(() => standIn.start());
afterAll(() => standIn.stop());

async function at(path: string, width = 1440): Promise<Page> {
  const page = await standIn.page({ viewport: { width, height: 850 } });
  await page.goto(`${standIn.url}/${path}`);
  await page.locator('main h1').waitFor();
  return page;
}
const question = (page: Page) => page.getByRole('dialog', { name: 'Discard what you entered?' });

describe.skipIf(missing !== undefined)('a dialog', () => {
  test('in which something was typed asks before Escape closes it, and keeps what was typed', async () => {
    const page = await at('people');
    await page.getByRole('button', { name: 'New user…' }).click();
    const dialog = page.getByRole('dialog', { name: 'New user', exact: true });
    const name = dialog.getByLabel('Name', { exact: true });
    await name.fill('k.ito');
    // Browsers close a dialog on a second Escape whatever the page does with the first: so twice.
    for (const _ of [1, 2]) {
      await page.keyboard.press('Escape');
      await question(page).waitFor();
      await page.keyboard.press('Escape');
      await question(page).waitFor({ state: 'detached' });
    }
    expect(await name.inputValue()).toBe('k.ito');
    expect(await name.evaluate((field) => field.matches(':focus'))).toBe(true);
    await dialog.getByRole('button', { name: 'Close' }).click();
    await question(page).getByRole('button', { name: 'Discard' }).click();
    await dialog.waitFor({ state: 'detached' });
    expect(await question(page).count()).toBe(0);
    await page.context().close();
  });

  test('to run again on some hosts begins with those that the filter of the run shows, and the output is of the first', async () => {
    const page = await at('runs/6300');
    await page.getByRole('region', { name: /^Output of/ }).waitFor();
    const shown = await page.getByRole('region', { name: /^Output of/ }).getAttribute('aria-label');
    const states = page.getByRole('group', { name: 'Filter hosts by state' });
    await states.getByRole('button', { name: '3 failed' }).click();
    const first = page.getByRole('grid', { name: 'Hosts by steps' }).locator('.name-cell[href]').first();
    const name = await first.textContent();
    expect(shown).not.toContain(`${name},`);
    await page.getByRole('region', { name: `Output of ${name}, step` }).waitFor();
    await page.keyboard.press('r');
    const again = page.getByRole('dialog', { name: 'Run Patch web tier again' });
    // By a state, the choice by states fits better: it keeps the version, and begins where one says.
    expect(await again.getByRole('radio', { name: 'failed or timed out' }).isChecked()).toBe(true);
    await again.getByRole('radio', { name: 'those that the filter shows 3' }).check();
    await page.getByRole('button', { name: 'Continue with 3 hosts…' }).click();
    await page.getByRole('button', { name: 'Run on 3 targets' }).waitFor();
    await page.context().close();
  });

  test('to run again says which of the hosts the person may not run the job on, before the server refuses', async () => {
    const page = await standIn.page({ viewport: { width: 1440, height: 900 } });
    let open: { status: string }[] = [];
    await page.route(/\/api\/v1\/runs\/6300\/target-runs\?.*mayRun=true/, (route) =>
      route.fulfill({ json: { items: open, nextCursor: null } }),
    );
    await page.goto(`${standIn.url}/runs/6300`);
    await page.getByRole('button', { name: 'Run again…' }).click();
    const again = page.getByRole('dialog', { name: 'Run Patch web tier again' });
    await again.getByRole('radio', { name: 'unknown' }).check();
    await again.getByText('These hosts were deleted, or you may not run this job there.').waitFor();
    expect(await again.getByRole('button', { name: 'Run again on 2 hosts' }).isDisabled()).toBe(true);
    expect(await again.getByRole('button', { name: 'Other targets…' }).isDisabled()).toBe(false);
    await again.getByRole('button', { name: 'Cancel' }).click();

    open = [{ status: 'unknown' }];
    await page.getByRole('button', { name: 'Run again…' }).click();
    await again.getByRole('radio', { name: 'unknown' }).check();
    await again.getByText('1 of these hosts was deleted, or you may not run this job there.').waitFor();
    await again.getByRole('button', { name: 'Continue with the others…' }).click();
    await again.waitFor({ state: 'detached' });
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await page.context().close();
  });

  test('to run again offers the job’s newer version on the same hosts', async () => {
    const page = await standIn.page({ viewport: { width: 1440, height: 900 } });
    await page.route('**/api/v1/jobs/1', async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), version: 19 } });
    });
    await page.goto(`${standIn.url}/runs/6300`);
    await page.getByRole('button', { name: 'Run again…' }).click();
    const again = page.getByRole('dialog', { name: 'Run Patch web tier again' });
    await again.getByRole('radio', { name: 'unknown' }).check();
    await again.getByRole('button', { name: 'Run version 19 on 2 hosts…' }).click();
    await page.getByRole('button', { name: 'Run on 2 targets' }).waitFor();
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await page.context().close();
  });

  test('in which nothing was typed, or no longer, is closed at once', async () => {
    const page = await at('people');
    await page.getByRole('button', { name: 'New user…' }).click();
    const dialog = page.getByRole('dialog', { name: 'New user', exact: true });
    const name = dialog.getByLabel('Name', { exact: true });
    await name.fill('k.ito');
    await name.fill('');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await page.context().close();
  });

  test('that adds a target leads to another credential for it, also where the segment has some', async () => {
    const page = await at('targets');
    await page.getByRole('button', { name: 'Add target…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Add a target' });
    await dialog.getByLabel('Segment').selectOption('dmz-1');
    await dialog.locator('summary').click();
    await dialog.getByLabel('Port').fill('2222');
    await dialog.getByRole('button', { name: 'Add another…' }).click();
    // The port of the target is one that the credential may be used for.
    const other = page.getByRole('dialog', { name: 'Add a credential' });
    await expect.poll(() => other.getByLabel('Ports').inputValue(), { timeout: 30_000 }).toBe('2222');
    await other.getByLabel('Name', { exact: true }).fill('web');
    await other.getByLabel('User', { exact: true }).fill('patch');
    await other.getByLabel('Private key', { exact: true }).fill('-----BEGIN OPENSSH PRIVATE KEY-----');
    await other.getByRole('button', { name: 'Seal and save' }).click();
    await other.getByText('Name hosts, or networks beside it; * stands for any host').waitFor();
    await page.context().close();
  });

  test('that adds a Windows target says where WinRM is chosen, and proposes a credential for it', async () => {
    const page = await at('targets');
    await page.getByRole('button', { name: 'Add target…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Add a target' });
    await dialog.getByLabel('Segment').selectOption('dmz-1');
    await dialog.getByLabel('Operating system').selectOption('windows');
    await dialog.getByText('For WinRM, set Protocol below').waitFor();
    await dialog.locator('summary').click();
    await dialog.getByLabel('Protocol').selectOption('winrm');
    await dialog.getByText('For WinRM, set Protocol below').waitFor({ state: 'detached' });
    await dialog.getByText('Empty: inherited, or HTTPS').waitFor();
    await dialog.getByRole('button', { name: 'Add another…' }).click();
    const other = page.getByRole('dialog', { name: 'Add a credential' });
    await expect
      .poll(() => other.getByLabel('Kind').inputValue(), { timeout: 30_000 })
      .toBe('winrm_password');
    expect(await other.getByLabel('Ports').inputValue()).toBe('5985, 5986');
    await page.context().close();
  });

  test('that adds a credential says of a wrong certificate what belongs there', async () => {
    const page = await at('credentials');
    await page.getByRole('button', { name: 'Add credential…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Add a credential' });
    const certificate = dialog.getByLabel('Certificate of the key');
    await certificate.fill('ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@here');
    await dialog.getByRole('button', { name: 'Seal and save' }).click();
    await dialog.getByText('This is a public key without a certificate.').waitFor();
    await certificate.fill('rubbish');
    await dialog.getByText('Paste the one line of the file that ends in -cert.pub').waitFor();
    expect(await dialog.getByText('must match pattern').count()).toBe(0);
    await page.context().close();
  });

  test('of a Windows target that WinRM reaches has no word of host keys', async () => {
    const page = await standIn.page({ viewport: { width: 1440, height: 850 } });
    await page.route(/\/api\/v1\/targets(\/\d+)?(\?|$)/, async (route) => {
      const response = await route.fetch();
      const body = await response.json();
      for (const one of body.items ?? [body]) {
        one.hostKeys = [];
        one.effective = { ...one.effective, protocol: 'winrm', port: 5986 };
      }
      await route.fulfill({ response, json: body });
    });
    await page.goto(`${standIn.url}/targets`);
    await page.getByText('none: WinRM').first().waitFor();
    expect(await page.getByText('not seen yet').count()).toBe(0);
    await page.locator('button.line').first().click();
    await page.getByRole('heading', { name: 'Connection', exact: true }).waitFor();
    expect(await page.getByRole('heading', { name: 'Host keys', exact: true }).count()).toBe(0);
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await page.context().close();
  });

  test('asks for labels that were added too, although their field is empty again', async () => {
    const page = await at('targets');
    await page.getByRole('button', { name: 'Add target…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Add a target' });
    await dialog.getByLabel('Labels').fill('rack=7');
    await page.keyboard.press('Enter');
    await dialog.getByText('rack=7').waitFor();
    await page.keyboard.press('Escape');
    // The first one closes the labels in use, if any are offered.
    if ((await question(page).count()) === 0) await page.keyboard.press('Escape');
    await question(page).waitFor();
    await page.context().close();
  });
});

describe.skipIf(missing !== undefined)('a form', () => {
  test('says beside each field what is missing there, and goes to the first one', async () => {
    const page = await at('agents');
    await page.getByRole('button', { name: 'New segment…' }).click();
    const dialog = page.getByRole('dialog', { name: 'New segment' });
    const name = dialog.getByLabel('Name', { exact: true });
    await dialog.getByLabel('Unknown after (seconds)').fill('5');
    await dialog.getByRole('button', { name: 'Create segment' }).click();
    await dialog.getByText('This is required').waitFor();
    await dialog.getByText('Enter a number from 10 to 86400').waitFor();
    expect(await name.getAttribute('aria-invalid')).toBe('true');
    expect(await name.evaluate((field) => field.matches(':focus'))).toBe(true);
    await name.fill('DMZ 1');
    expect(await dialog.getByText('This is required').count()).toBe(0);
    await dialog.getByRole('button', { name: 'Create segment' }).click();
    await dialog.getByText(/^Lowercase letters, digits and hyphens, beginning and ending/).waitFor();
    await page.context().close();
  });

  test('of a step names fields by their labels where the text names them by their keys', async () => {
    const page = await at('jobs/new');
    const pane = page.getByRole('region', { name: 'Form' });
    await pane.getByLabel('Type').selectOption('ssh.copy');
    await pane.getByLabel('File of the server').fill('a.tar');
    await pane.getByLabel('Path on the agent').fill('/srv/a.tar');
    await pane.getByText('leave out “Path on the agent” or “File of the server”').first().waitFor();
    await page.context().close();
  });
});

test('a new job has no description of an example that it no longer is', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const page = await at('jobs/new');
  await page.getByLabel('Definition, YAML').getByText('Check free space').waitFor();
  expect(await page.getByLabel('Definition, YAML').textContent()).not.toContain('description');
  await page.context().close();
});

describe.skipIf(missing !== undefined)('in a small window', () => {
  test('a user without a password is told to set one, without looking for it', async () => {
    await standIn.say('as-newcomer');
    for (const width of [720, 390, 320]) {
      const page = await at('runs', width);
      const link = page.getByRole('banner').getByRole('link', { name: 'Set a password' });
      await link.waitFor();
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
      await link.click();
      await page.getByLabel('New password').waitFor();
      await page.context().close();
    }
    await standIn.say('as-admin');
  });

  test('the one action on a user stands beside the name', async () => {
    const page = await at('people/users/1', 390);
    // Only a user who has been read has it; the heading before that is another.
    const edit = await page.getByRole('button', { name: 'Edit…' }).boundingBox();
    const name = await page.getByRole('heading', { level: 1 }).boundingBox();
    expect(edit?.y).toBeLessThan((name?.y ?? 0) + (name?.height ?? 0));
    expect(edit?.height).toBeGreaterThanOrEqual(44);
    await page.context().close();
  });

  test('one host of a run is cancelled', async () => {
    const page = await at('runs/6700', 390);
    await page
      .getByRole('gridcell', { name: /no answer from the host$/ })
      .first()
      .click();
    await page.getByRole('button', { name: 'Cancel host…' }).click();
    const dialog = page.getByRole('dialog', { name: /^Cancel .+\?$/ });
    const asked = page.waitForRequest((request) => request.method() === 'POST');
    await dialog.getByRole('button', { name: /^Cancel/ }).click();
    expect((await asked).url()).toMatch(/\/runs\/6700\//);
    await page.context().close();
  });
});

describe.skipIf(missing !== undefined)('what a newcomer needs next', () => {
  test('of a target without a credential is one, which is said before its connection is tested', async () => {
    const page = await at('targets?search=dmz-web-09');
    await page.getByRole('button', { name: /^dmz-web-09 / }).click();
    await page.getByText('None is given to the target').waitFor();
    await page.getByRole('button', { name: 'Choose a credential…' }).click();
    await page.getByRole('dialog').getByLabel('Credential', { exact: true }).waitFor();
    await page.context().close();
  });

  test('of a run that a target blocks is that target, which opens beside the dialog', async () => {
    const page = await at('jobs/1');
    await page.getByRole('button', { name: /^Run…/ }).click();
    const dialog = page.getByRole('dialog');
    await dialog
      .getByRole('checkbox', { name: /dmz-web-01/ })
      .first()
      .waitFor();
    await dialog.getByRole('searchbox', { name: 'Search targets' }).fill('dmz-web-09');
    // What was listed before the search stands there until its answer is, and would move away under the pointer.
    await dialog
      .getByRole('checkbox', { name: /dmz-web-01/ })
      .first()
      .waitFor({ state: 'detached' });
    await dialog
      .getByRole('checkbox', { name: /dmz-web-09/ })
      .first()
      .check();
    const note = page.locator('.note', { hasText: '1 blocked.' });
    const opens = page.context().waitForEvent('page');
    await note.getByRole('link', { name: 'dmz-web-09' }).click();
    await (await opens).getByRole('button', { name: /^dmz-web-09 / }).waitFor();
    await page.context().close();
  });

  test('of a list without starters is a job that is one', async () => {
    await standIn.say('empty');
    const page = await at('jobs/starters');
    await standIn.say('full');
    await page.getByRole('link', { name: 'Create one' }).click();
    await page.locator('.cm-content').getByText('template: true').waitFor();
    await page.context().close();
  });
});
