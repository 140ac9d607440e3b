// Mistakes of an owner that are reported before anything is sent: there is no server here.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { expect, test } from 'vitest';
import { readConfig } from '../config.ts';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { addCredentialCommands } from './credentials/credential-commands.ts';
import { makeKeyFile } from './keys/key-file.ts';
import { addSegmentCommands } from './segments/segment-commands.ts';

async function setup() {
  const { path, remove } = await temporaryDirectory();
  const file = (name: string) => join(path, name);
  await writeFile(file('token'), 'oct_of-nobody');
  for (const purpose of ['root', 'signer'] as const)
    await makeKeyFile(file(purpose), purpose, 'correct horse battery', { N: 16, r: 8, p: 1 });
  const run = (args: string[]) => {
    const program = new Command('opsconductor').exitOverride();
    addSegmentCommands(program, readConfig(), () => undefined);
    addCredentialCommands(program, readConfig(), () => undefined);
    const server = ['--server', 'http://127.0.0.1:1', '--token-file', file('token')];
    return program.parseAsync([...args, ...server], { from: 'user' });
  };
  return { file, run, [Symbol.asyncDispose]: remove };
}

test('the public half of a key is not sealed instead of the private one', async () => {
  await using t = await setup();
  await writeFile(t.file('id.pub'), 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI deploy');
  const where = ['--segment', 'dmz', '--kind', 'ssh_private_key', '--user', 'deploy', '--host', '*'];
  await expect(
    t.run(['credential', 'seal', 'deploy', ...where, '--secret-file', t.file('id.pub')]),
  ).rejects.toThrow('holds no private key');
});

test('a kind that names a source accepts no secret, and one that holds its secret accepts no source', async () => {
  await using t = await setup();
  const seal = (kind: string, ...given: string[]) =>
    t.run(['credential', 'seal', 'deploy', '--segment', 'dmz', '--kind', kind, '--user', 'x', ...given]);
  await expect(seal('ssh_key_source', '--secret-file', t.file('token'))).rejects.toThrow('holds none');
  await expect(seal('ssh_password', '--source', 'deploy')).rejects.toThrow('A ssh_password holds its secret');
});

test('no segment is made with a signer’s key, or if its root could not be kept', async () => {
  await using t = await setup();
  const init = (key: string, roots: string) =>
    t.run(['segment', 'init', 'dmz', '--key', t.file(key), '--roots', roots]);
  await expect(init('signer', t.file('roots.json'))).rejects.toThrow('a root key is needed');
  await expect(init('root', '/proc/none/roots.json')).rejects.toThrow('The folder of --roots can');
});
