import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createJob } from './create-job.ts';
import { setupJobs, type TestJobs } from './testing.ts';
import { setVersionName } from './versions/version-names.ts';

let t: TestJobs;
let template: number;
beforeAll(async () => {
  t = await setupJobs();
  const made = await t.create({
    name: 'Patch a site',
    template: true,
    labels: { kind: 'patch' },
    parameters: {
      site: { type: 'string', enum: ['lyon', 'oslo'] },
      reboot: { type: 'boolean', default: false },
      password: { type: 'string', secret: true },
    },
  });
  template = made.id;
});
afterAll(() => t.close());

const make = (request: object, caller = t.caller) =>
  createJob(t, { from_template: { id: template }, name: 'Patch Lyon', ...request }, caller);

describe('a job from a template', () => {
  it('has its definition with the given values as defaults, and records what it was made from', async () => {
    const job = await make({ parameters: { site: 'lyon', reboot: true }, fixed: ['site'], note: 'for Lyon' });
    expect(job).toMatchObject({
      name: 'Patch Lyon',
      isTemplate: false,
      labels: { kind: 'patch' },
      note: 'for Lyon',
      madeFrom: { id: template, name: 'Patch a site', version: 1, newestVersion: 1 },
    });
    expect(job.definition.parameters).toMatchObject({
      site: { type: 'string', enum: ['lyon'], default: 'lyon' },
      reboot: { type: 'boolean', default: true },
      password: { secret: true },
    });
    expect(job.definition).not.toHaveProperty('template');
    // The template is changed afterwards; the job still says which version it was made from.
    await t.change(template, { timeout: 600 });
    expect((await t.get(job.id)).madeFrom).toMatchObject({ version: 1, newestVersion: 2 });
  });

  it('is made from the named version', async () => {
    await setVersionName(t.sql, template, { name: 'stable', kind: 'channel', version: 1 }, t.caller);
    const job = await make({ name: 'of stable', from_template: { id: template, version: 'stable' } });
    expect(job.madeFrom?.version).toBe(1);
    expect(job.definition).not.toHaveProperty('timeout');
    await expect(make({ name: 'x', from_template: { id: template, version: 'gone' } })).rejects.toMatchObject(
      {
        details: [{ path: 'from_template.version' }],
      },
    );
  });

  it.each<[string, object, string]>([
    ['a parameter that there is not', { parameters: { town: 'lyon' } }, 'parameters.town'],
    ['a secret', { parameters: { password: 'hunter2' } }, 'parameters.password'],
    ['something fixed without a value', { parameters: { site: 'lyon' }, fixed: ['reboot'] }, 'fixed[0]'],
    ['what is no field', { colour: 'red' }, 'colour'],
  ])('is refused with %s', async (_, request, path) => {
    await expect(make({ name: 'refused', ...request })).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path }],
    });
  });

  it('is refused with all wrong names at once', async () => {
    const parameters = { town: 'lyon', password: 'hunter2' };
    await expect(make({ name: 'refused', parameters, fixed: ['reboot'] })).rejects.toMatchObject({
      message: expect.stringMatching(/^3 fields are invalid\. The first: parameters\.town: /),
      details: [{ path: 'parameters.town' }, { path: 'parameters.password' }, { path: 'fixed[0]' }],
    });
  });

  it('is refused with a value that the parameter does not allow', async () => {
    await expect(make({ name: 'refused', parameters: { site: 'rome' } })).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: expect.stringMatching(/^parameters\.site/) }],
    });
  });

  it('needs a template that its author may see', async () => {
    const plain = await t.create({ name: 'no template' });
    await expect(make({ name: 'x', from_template: { id: plain.id } })).rejects.toMatchObject({
      code: 'conflict',
    });
    const elsewhere = { kind: 'category', id: 999_999 } as const;
    const blind = t.callerWith({ role: 'author', permission: null, scope: elsewhere });
    await expect(make({ name: 'x' }, blind)).rejects.toMatchObject({ code: 'not_found' });
  });
});
