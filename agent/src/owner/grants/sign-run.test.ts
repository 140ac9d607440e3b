import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson } from '@opsconductor/protocol';
import { isSignedBy, readTerms, type SignedGrant, sha256Hex } from '@opsconductor/protocol/grants';
import { decodeBase64 } from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { draftOfTests } from '../../grants/testing.ts';
import { temporaryDirectory } from '../../testing/enrolled-directory.ts';
import { makeKeyFile } from '../keys/key-file.ts';
import { type SignRun, signRun } from './sign-run.ts';

const passphrase = 'correct horse battery';
const request = { targetIds: [12], version: 4, parameters: { service: 'nginx' } };

async function setup() {
  const { path, remove } = await temporaryDirectory();
  const [key, draft, out] = [join(path, 'signer.key'), join(path, 'draft.json'), join(path, 'start.json')];
  const made = await makeKeyFile(key, 'signer', passphrase, { N: 16, r: 8, p: 1 });
  const lines: string[] = [];
  const sign = async (content: unknown, more: Partial<SignRun> = {}) => {
    await writeFile(draft, typeof content === 'string' ? content : JSON.stringify(content));
    await signRun({
      ...{ key, draft, out, hours: 8 },
      passphrase: async () => passphrase,
      confirm: async () => true,
      say: (line) => lines.push(line),
      now: () => new Date('2027-03-01T12:00:00Z'),
      ...more,
    });
    return JSON.parse(await readFile(out, 'utf8')) as typeof request & { grant: SignedGrant };
  };
  return { made, lines, key, out, sign, [Symbol.asyncDispose]: remove };
}

test('what is signed is shown first, and starts the run as requested', async () => {
  await using t = await setup();
  let shown: string[] = [];
  const confirm = async () => {
    shown = [...t.lines];
    return true;
  };
  const { grant, ...rest } = await t.sign({ ...(await draftOfTests()), request }, { confirm });
  expect(rest).toEqual(request);
  const [target] = grant.targets;
  if (target === undefined) throw new Error('No target was signed');
  expect(await isSignedBy(decodeBase64(t.made.publicKey), { terms: grant.terms, ...target })).toBe(true);
  expect(readTerms(grant.terms)).toMatchObject({
    signer: { key: t.made.publicKey, class: 'cli' },
    notBefore: '2027-03-01T11:55:00.000Z',
    // Eight hours in all, so agents that allow eight hours accept it.
    expiresAt: '2027-03-01T19:55:00.000Z',
  });
  const text = shown.join('\n');
  for (const part of [
    'systemctl restart',
    'service: nginx',
    'token (sealed)',
    'host: web-1.example',
    'port: 2222',
  ])
    expect(text).toContain(part);
  for (const part of ['username: deploy', 'jump.example', 'ssh-ed25519 AAAA', 'by any agent of segment dmz'])
    expect(text).toContain(part);
});

test('nothing is signed without a yes, or if the definition does not match its checksum', async () => {
  await using t = await setup();
  const draft = await draftOfTests();
  await expect(t.sign(draft, { confirm: async () => false })).rejects.toThrow('Nothing was signed');
  const other = { ...draft, definition: { ...Object(draft.definition), name: 'Other' } };
  await expect(t.sign(other)).rejects.toThrow('does not match its checksum');
  await expect(t.sign('{"targets":[]}')).rejects.toThrow('is not the draft of a run');
  await expect(readFile(t.out)).rejects.toThrow('ENOENT');
});

test('what placeholders take from a target is shown, and what each step gets instead', async () => {
  await using t = await setup();
  const draft = await draftOfTests();
  const [target] = draft.targets;
  const [reach] = target?.reaches ?? [];
  if (target === undefined || reach === undefined) throw new Error('No target in the draft');
  const other = { ...reach, steps: [3], target: { ...reach.target, name: 'web-1; reboot' } };
  const labels = { package: 'https://thief.example/x.deb' };
  const targets = [{ ...target, os: 'freebsd', labels, reaches: [{ ...reach, steps: [1, 2] }, other] }];
  await t.sign({ ...draft, targets });
  const text = t.lines.join('\n');
  for (const part of ['os: freebsd', 'package: https://thief.example/x.deb', 'name: web-1; reboot'])
    expect(text).toContain(part);
});

test('whatever else the definition says is shown, because it is signed too', async () => {
  await using t = await setup();
  const draft = await draftOfTests();
  const parameters = { service: { type: 'string', allow_leading_dash: true, pattern: '^.*$' } };
  const definition = { ...Object(draft.definition), parameters, fieldOfLater: 'x' };
  const checksum = await sha256Hex(canonicalJson(definition));
  await t.sign({ ...draft, definition, job: { ...draft.job, checksum } });
  const text = t.lines.join('\n');
  for (const part of ['allow_leading_dash: true', 'pattern: ^.*$', 'fieldOfLater: x'])
    expect(text).toContain(part);
});

test('a field of a step is shown next to a field of its configuration with the same name', async () => {
  await using t = await setup();
  const draft = await draftOfTests();
  const definition = {
    name: 'Two',
    steps: [{ name: 'one', type: 'ssh.exec', when: 'true', config: { command: 'id', when: 'false' } }],
  };
  const checksum = await sha256Hex(canonicalJson(definition));
  await t.sign({ ...draft, definition, job: { ...draft.job, checksum } });
  expect(t.lines.filter((line) => line.includes('when:'))).toHaveLength(2);
});

test('an existing file is not overwritten, since it may be the key', async () => {
  await using t = await setup();
  const key = await readFile(t.key, 'utf8');
  const draft = await draftOfTests();
  await expect(t.sign(draft, { out: t.key })).rejects.toThrow('already exists');
  expect(await readFile(t.key, 'utf8')).toBe(key);
  expect(t.lines).toEqual([]);
});

test.each([
  ['no definition', { definition: null }],
  ['no steps', { definition: { name: 'x' } }],
  ['a step that is not a step', { definition: { name: 'x', steps: [null] } }],
  ['no targets', { targets: [] }],
])('a draft with %s is refused as not being a draft', async (_what, more) => {
  await using t = await setup();
  await expect(t.sign({ ...(await draftOfTests()), ...more })).rejects.toThrow('is not the draft of a run');
});

test('the user that a command runs as is shown', async () => {
  await using t = await setup();
  const draft = await draftOfTests();
  const [target] = draft.targets;
  const reaches = (target?.reaches ?? []).map((reach) => ({
    ...reach,
    runAs: { ...reach.credential, version: 77 },
  }));
  await t.sign({ ...draft, targets: [{ ...target, reaches }] });
  const text = t.lines.join('\n');
  expect(text.slice(text.indexOf('runAs:'))).toContain('version: 77');
});

test('a request that is too large for any server is not written', async () => {
  await using t = await setup();
  const large = { ...request, reason: 'x'.repeat(4 * 1024 * 1024) };
  await expect(t.sign({ ...(await draftOfTests()), request: large })).rejects.toThrow(
    'a server accepts at most 4194304',
  );
  await expect(readFile(t.out)).rejects.toThrow('ENOENT');
});

test('text that a hostile server writes into a draft can not move the cursor or hide text', async () => {
  await using t = await setup();
  const draft = await draftOfTests({ parameters: { service: 'nginx\u001b[2K\u202e; reboot' } });
  await t.sign(draft);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the test looks for them
  expect(t.lines.join('')).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
  expect(t.lines.join('\n')).toContain('; reboot');
});
