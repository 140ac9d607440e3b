import { canonicalJson, type Lease } from '@opsconductor/protocol';
import { grantedReach, type LeaseGrant } from '@opsconductor/protocol/grants';
import { encodeBase64, encodeFields, generateSigningKeyPair, sign } from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { GrantBegins } from '../journal/grant-begins.ts';
import type { JournalRecord } from '../journal/journal-record.ts';
import { PolicyGuard, type Refusal } from '../policy/policy-guard.ts';
import type { RequireGrant } from '../policy/policy-schema.ts';
import { GrantGuard } from './grant-guard.ts';
import { definition, draftOfTests, honestLease, identity, signer } from './testing.ts';

async function setup(
  options: { rule?: Partial<RequireGrant> | null; identity?: Partial<typeof identity> } = {},
) {
  const by = await signer();
  const refusals: Refusal[] = [];
  const grants = new GrantBegins();
  const clock = { now: new Date('2027-03-01T12:01:00Z') };
  const guard = new GrantGuard({
    identity: { ...identity, ...options.identity },
    rule: options.rule === null ? undefined : { ...by.rule, ...options.rule },
    policy: new PolicyGuard({ policy: { fileRoots: [] }, onRefusal: (refusal) => refusals.push(refusal) }),
    journal: {
      grants,
      note: (record) => grants.apply(record as Extract<JournalRecord, { is: 'granted' | 'grants_lost' }>),
    },
    now: () => clock.now,
  });
  const granted = (number = 1, differing = {}) => by.granted(honestLease(number), number, differing);
  return { by, refusals, grants, guard, clock, granted };
}

const refused = (what: string | RegExp) =>
  expect.objectContaining({ reason: 'policy_refused', message: expect.stringMatching(what) });

test('a step of a signed run may begin, with everything that was signed', async () => {
  const t = await setup();
  const lease = await t.granted();
  expect(await t.guard.check(lease)).toEqual(lease);
  // What the server leaves out is restored, so leaving it out changes nothing.
  const { parameters: _, ...values } = lease.rendering?.values ?? { parameters: {} };
  const less = {
    ...lease,
    rendering: { ...lease.rendering, values: { ...values, parameters: {} } },
  } as Lease;
  expect(await t.guard.check(less)).toEqual(lease);
});

test('without the rule nothing has to be signed', async () => {
  const t = await setup({ rule: null });
  expect(await t.guard.check(honestLease())).toEqual(honestLease());
  t.guard.begin(honestLease());
});

test('a run that is not signed is refused, and the owner is told of the refusal', async () => {
  const t = await setup();
  await expect(t.guard.check(honestLease())).rejects.toEqual(
    refused('a run that is not signed: rule require_grant'),
  );
  expect(t.refusals).toMatchObject([{ rule: 'require_grant', attempt: { runId: 41, step: 101 } }]);
});

/** Names of this attempt and this session, which have no influence on what is done. */
const namesOnly = ['step', 'epoch', 'leaseToken'];
/** The run's number and start time are not known when signing; both are checked as far as they can be. */
const known = ['runId', 'rendering.values.run.id', 'rendering.values.run.created_at'];
/** Another number means another step, and the rest of the lease is then compared with that one. */
const grantParts = ['grant.step'];

test('a lease with any one part altered, or with an additional part, is refused', async () => {
  const t = await setup();
  const lease = await t.granted();
  const untouched = [...namesOnly, ...known, ...grantParts];
  const parts = leavesOf(lease).filter((path) => !untouched.includes(path.join('.')));
  expect(parts.length).toBeGreaterThan(60);
  for (const path of parts) {
    const changed = altered(lease, path, (value) => (typeof value === 'number' ? value + 1 : `${value}!`));
    await expect(t.guard.check(changed), path.join('.')).rejects.toEqual(refused('does not allow'));
  }
  const added: [string, Lease][] = [
    ['config', { ...lease, config: { ...(lease.config as object), become: { user: 'root' } } }],
    ['target', { ...lease, target: { ...lease.target, winrm: { transport: 'http' } as never } }],
    ['run as', { ...lease, runAs: lease.credential }],
    ['later field of targets', { ...lease, target: { ...lease.target, fieldOfLater: 1 } as never }],
  ];
  for (const [what, changed] of added)
    await expect(t.guard.check(changed), what).rejects.toEqual(refused('than was signed'));
});

/** Which parts of a lease are compared. A new part does not compile until it is added here and in the test above. */
const held = {
  ...{ step: 'name', epoch: 'name', leaseToken: 'name', runId: 'name', grant: 'signed', after: 'name' },
  ...{ stepType: 'compared', config: 'compared', target: 'compared', credential: 'compared' },
  ...{ runAs: 'compared', rendering: 'compared', detectSecrets: 'as defined' },
} satisfies Record<keyof Lease, 'name' | 'signed' | 'compared' | 'as defined'>;

test('additional fields of a later server that this agent does not read change nothing', async () => {
  const t = await setup();
  const lease = await t.granted();
  expect(Object.keys(held)).toEqual(expect.arrayContaining(Object.keys(lease)));
  await t.guard.check({ ...lease, fieldOfLater: 1 } as never);
});

test('the user that a command runs as is signed with the rest', async () => {
  const t = await setup();
  const { credential, target } = honestLease();
  const runAs = { ...credential, version: 7 };
  const [of] = (await draftOfTests()).targets;
  const reach = { steps: [1, 2, 3], ...(await grantedReach({ target, credential, runAs })) };
  const lease = { ...(await t.granted(1, { targets: [{ ...of, reaches: [reach] }] })), runAs };
  expect(await t.guard.check(lease)).toEqual(lease);
  const { runAs: _, ...without } = lease;
  for (const other of [without, { ...lease, runAs: credential }])
    await expect(t.guard.check(other)).rejects.toEqual(refused('a different user for the command of step 1'));
});

test.each([
  ['runId', { runId: 42 }],
  ['rendering.values.run.id', {}],
])('%s is that of its run in both places', async (_, more) => {
  const t = await setup();
  const lease = await t.granted();
  const other = altered(lease, ['rendering', 'values', 'run', 'id'], () => 43);
  await expect(t.guard.check({ ...(Object.keys(more).length > 0 ? lease : other), ...more })).rejects.toEqual(
    refused('a run.id other than'),
  );
});

test('a run that was started before or after the time that was signed is refused', async () => {
  const t = await setup();
  const lease = await t.granted();
  const outside = ['2027-03-01T11:54:59.999Z', '2027-03-01T20:00:00.000Z', ''];
  const noTimes = ['2027-03-01T12:00:00.000Z ../etc', '2027-03-01T12', '2027-03-01/../../etc/cron.d/x'];
  for (const time of [...outside, ...noTimes]) {
    const other = altered(lease, ['rendering', 'values', 'run', 'created_at'], () => time);
    await expect(t.guard.check(other)).rejects.toEqual(refused('started before or after'));
  }
});

test('a step that lacks the rendering that it needs is refused', async () => {
  const t = await setup();
  const { rendering: _, ...bare } = await t.granted();
  await expect(t.guard.check(bare)).rejects.toEqual(refused('without the values'));
});

test('outputs that an earlier step has handed on are not signed', async () => {
  const t = await setup();
  const lease = await t.granted(2);
  const values = { ...lease.rendering?.values, steps: { restart: { outputs: { pid: '1; reboot' } } } };
  const other = { ...lease, rendering: { ...lease.rendering, values } } as Lease;
  await expect(t.guard.check(other)).rejects.toEqual(refused('values of step restart'));
});

test.each([
  ['another installation', { installationId: 'other' }],
  ['another segment', { segmentId: 4 }],
])('what was signed for %s is refused', async (what, other) => {
  const t = await setup({ identity: other });
  await expect(t.guard.check(await t.granted())).rejects.toEqual(refused(`signed for ${what}`));
});

test('two agents of a segment can be made to begin the same step each; a grant for one agent can not', async () => {
  const one = await setup();
  const lease = await one.granted();
  const other = await setup({ rule: one.by.rule, identity: { agentId: 8 } });
  for (const { guard } of [one, other]) {
    await guard.check(lease);
    guard.begin(lease);
  }
  const [target] = JSON.parse(`[${lease.grant?.statement}]`);
  const bound = await one.granted(1, { targets: [{ ...target, agentId: 7 }] });
  await one.guard.check(bound);
  await expect(other.guard.check(bound)).rejects.toEqual(refused('signed for another agent'));
  const strict = await setup({ rule: { ...one.by.rule, one_agent: true } });
  await strict.guard.check(bound);
  await expect(strict.guard.check(lease)).rejects.toEqual(
    refused(/any agent of the segment .*give `agentIds`/),
  );
});

test('only listed signers count, by the class that the policy says', async () => {
  const t = await setup();
  const stranger = await generateSigningKeyPair();
  const forged = await t.granted(1, { privateKey: stranger.privateKey });
  await expect(t.guard.check(forged)).rejects.toEqual(refused('none of its signers'));
  const inBrowser = await t.granted(1, { class: 'browser' });
  await expect(t.guard.check(inBrowser)).rejects.toEqual(refused('lead signed with a key of class browser'));
  const public_key = encodeBase64(t.by.keys.publicKey);
  const both = await setup({ rule: { signers: [{ name: 'lead', public_key, classes: ['browser'] }] } });
  await both.guard.check(inBrowser);
});

test('a grant holds from its beginning to its end, and for no longer than the policy says', async () => {
  const t = await setup();
  const lease = await t.granted();
  t.clock.now = new Date('2027-03-01T11:54:00Z');
  const early = 'valid only after 2027-03-01T11:55:00.000Z .its clock says 2027-03-01T11:54:00.000Z.:';
  await expect(t.guard.check(lease)).rejects.toEqual(refused(early));
  t.clock.now = new Date('2027-03-01T20:00:00Z');
  const late = 'expired at 2027-03-01T20:00:00.000Z .its clock says 2027-03-01T20:00:00.000Z.:';
  await expect(t.guard.check(lease)).rejects.toEqual(refused(late));
  t.clock.now = new Date('2027-03-01T12:00:00Z');
  const long = await t.granted(1, { expiresAt: new Date('2027-03-02T11:55:01Z') });
  await expect(t.guard.check(long)).rejects.toEqual(refused('longer than 24 hours'));
});

test('a step begins once under a grant, and none begins after a later one', async () => {
  const t = await setup();
  const lease = await t.granted();
  await t.guard.check(lease);
  t.guard.begin(lease);
  // The same attempt begins again if the target could not keep its command running by itself.
  t.guard.begin(lease);
  const again = { ...lease, epoch: 2 };
  await expect(t.guard.check(again)).rejects.toEqual(refused('step 1 again under the same grant'));
  const second = await t.granted(2);
  await t.guard.check(second);
  t.guard.begin(second);
  await expect(t.guard.check(again)).rejects.toEqual(refused('step 1 after step 2'));
});

test('steps of one target can not be signed under several numbers: they would not be kept in order', async () => {
  const t = await setup();
  const [target] = (await draftOfTests()).targets;
  const [reach] = target?.reaches ?? [];
  if (target === undefined || reach === undefined) throw new Error('No target in the draft');
  const under = (id: number, steps: number[]) => ({ ...reach, steps, target: { ...reach.target, id } });
  const apart = { ...target, reaches: [under(12, [1]), under(13, [2, 3])] };
  await expect(t.granted(1, { targets: [apart] })).rejects.toThrow('has several numbers');
  // Signed by a program that does not look.
  const { terms } = (await t.granted()).grant as LeaseGrant;
  const statement = canonicalJson(apart);
  const signed = await sign(t.by.keys.privateKey, encodeFields('run-grant', [terms, statement]));
  const grant = { terms, statement, signature: encodeBase64(signed), definition: canonicalJson(definition) };
  const second = { ...honestLease(2), target: { ...honestLease(2).target, id: 13 } };
  await expect(t.guard.check({ ...second, grant: { ...grant, step: 2 } })).rejects.toEqual(
    refused('a grant that this agent can not read'),
  );
});

test('an attempt that has begun does not begin again by being leased again, whatever its token', async () => {
  const t = await setup();
  const lease = await t.granted();
  await t.guard.check(lease);
  t.guard.begin(lease);
  const given = { ...lease, leaseToken: 'another-token-of-it' };
  await expect(t.guard.check(given)).rejects.toEqual(refused('step 1 again under the same grant'));
  // What was checked before anything had begun is checked again when it begins.
  const twin = await setup({ rule: t.by.rule });
  const twice = { ...lease };
  await twin.guard.check(lease);
  await twin.guard.check(twice);
  twin.guard.begin(lease);
  expect(() => twin.guard.begin(twice)).toThrow(refused('again under the same grant'));
});

test('that a step has not begun after all does not affect one that has begun meanwhile', async () => {
  const t = await setup();
  const [first, second] = [await t.granted(1), await t.granted(2)];
  await t.guard.check(first);
  await t.guard.check(second);
  const takeBack = t.guard.begin(first);
  t.guard.begin(second);
  takeBack();
  await t.guard.check({ ...second, epoch: 2 });
  await expect(t.guard.check({ ...first, epoch: 2 })).rejects.toEqual(refused('step 1 after step 2'));
});

test('a step with retries begins as often as its definition says, an idempotent one as often as asked', async () => {
  const t = await setup();
  const retried = await t.granted(2);
  for (const epoch of [1, 2]) {
    const lease = { ...retried, epoch };
    await t.guard.check(lease);
    t.guard.begin(lease);
  }
  await expect(t.guard.check({ ...retried, epoch: 3 })).rejects.toEqual(refused('step 2 again'));
  const idempotent = await t.granted(3);
  for (const epoch of [1, 2, 3, 4]) {
    const lease = { ...idempotent, epoch };
    await t.guard.check(lease);
    t.guard.begin(lease);
  }
});

test('a step that has not begun after all may begin', async () => {
  const t = await setup();
  const lease = await t.granted();
  await t.guard.check(lease);
  const takeBack = t.guard.begin(lease);
  takeBack();
  const again = { ...lease, epoch: 2 };
  await t.guard.check(again);
  t.guard.begin(again);
  await expect(t.guard.check({ ...lease, epoch: 3 })).rejects.toEqual(refused('again'));
});

test('a step that was checked before another attempt began is checked again when it begins', async () => {
  const t = await setup();
  const lease = await t.granted();
  const twin = { ...lease, epoch: 2 };
  await t.guard.check(lease);
  await t.guard.check(twin);
  t.guard.begin(lease);
  expect(() => t.guard.begin(twin)).toThrow(refused('again under the same grant'));
});

test('a step that waited until its grant had expired does not begin, as what has begun is forgotten then', async () => {
  const t = await setup();
  const lease = await t.granted();
  const twin = { ...lease, epoch: 2 };
  for (const one of [lease, twin]) await t.guard.check(one);
  t.guard.begin(lease);
  t.clock.now = new Date('2027-03-01T20:00:00Z');
  expect(t.grants.records(t.clock.now)).toEqual([]);
  expect(() => t.guard.begin(twin)).toThrow(refused('expired at'));
  // One that has begun in time may begin again, if its target could not keep its command running by itself.
  const first = await setup({ rule: t.by.rule });
  await first.guard.check(lease);
  first.guard.begin(lease);
  first.clock.now = t.clock.now;
  first.guard.begin(lease);
});

test('after its journal was lost an agent accepts no grant from before', async () => {
  const t = await setup();
  t.grants.apply({ is: 'grants_lost', at: '2027-03-01T11:58:00.000Z' });
  await expect(t.guard.check(await t.granted())).rejects.toEqual(refused('before its journal was lost'));
  await t.guard.check(await t.granted(1, { notBefore: new Date('2027-03-01T11:59:00Z') }));
});

test('a command that is taken over is masked as its definition was signed, whatever the server leaves out', async () => {
  const t = await setup();
  const lease = await t.granted(1, { definition: { ...definition, detect_secrets: true } });
  const { detectSecrets: _, ...withoutIt } = lease;
  expect(await t.guard.checkTakeOver(withoutIt)).toMatchObject({ detectSecrets: true });
});

test('a command is taken over only if it was signed, even after its grant has expired', async () => {
  const t = await setup();
  const lease = await t.granted();
  t.clock.now = new Date('2027-03-02T12:00:00Z');
  await t.guard.checkTakeOver(lease);
  await expect(t.guard.checkTakeOver(honestLease())).rejects.toEqual(refused('not signed'));
  const elsewhere = { ...lease, target: { ...lease.target, host: 'db-1.example' } };
  await expect(t.guard.checkTakeOver(elsewhere)).rejects.toEqual(
    refused('a different host of web-1 than was signed'),
  );
});

function leavesOf(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([key, inner]) => leavesOf(inner, [...path, key]));
}

function altered(lease: Lease, path: readonly string[], change: (value: unknown) => unknown): Lease {
  const copy = structuredClone(lease);
  let place = copy as unknown as Record<string, unknown>;
  for (const key of path.slice(0, -1)) place = place[key] as Record<string, unknown>;
  const last = path.at(-1) as string;
  place[last] = change(place[last]);
  return copy;
}
