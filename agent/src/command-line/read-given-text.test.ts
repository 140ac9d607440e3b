// What is read of files that a person names by mistake. Most of these commands end with a sentence and a fix.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect, test, vi } from 'vitest';
import { AgentError } from '../agent-error.ts';
import { verifyWinrm } from '../commands/verify-winrm.ts';
import { withoutProxy } from '../connection/proxy.ts';
import { readToken } from '../enrollment/read-token.ts';
import { establishTrust } from '../enrollment/server-trust.ts';
import { readKeyFile } from '../owner/keys/key-file.ts';
import { readPolicy } from '../policy/agent-policy.ts';
import { KnownRoots } from '../start-run/known-roots.ts';
import { readApiToken, readRequest } from '../start-run/read-given.ts';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { readGivenText } from './read-given-text.ts';

const large = 33_000_000;
const server = new URL('https://ops.example.com');

test.each<[string, (file: string) => Promise<unknown>]>([
  ['an enrollment token', (file) => readToken(file, undefined)],
  ['an API token', (file) => readApiToken(file, undefined)],
  ['the body of a request', readRequest],
  ['roots', (file) => KnownRoots.read(file, false)],
  ['a key', readKeyFile],
  ['a policy', (file) => readPolicy(file, '/nowhere')],
  [
    'a CA',
    (caFile) =>
      establishTrust({ server, caPin: undefined, tokenPin: undefined, caFile, proxy: withoutProxy }),
  ],
])('a file that is too large and is named as that of %s is refused', async (_, read) => {
  const { path, remove } = await temporaryDirectory();
  try {
    const file = join(path, 'image');
    await writeFile(file, Buffer.alloc(large), { mode: 0o600 });
    const error = await read(file).then(
      () => undefined,
      (one: unknown) => one,
    );
    expect(error).toBeInstanceOf(AgentError);
    expect((error as AgentError).message).toMatch(/can ?not be read|can't be read/);
    expect((error as AgentError).message).toContain('it has more than 32 MB');
  } finally {
    await remove();
  }
});

test.each<[string, () => Promise<unknown>]>([
  ['an enrollment token', () => readToken('-', undefined)],
  ['an API token', () => readApiToken('-', undefined)],
  [
    'a password',
    () =>
      verifyWinrm(
        {
          host: 'win-1.example.com',
          transport: 'https',
          authentication: 'ntlm',
          user: 'ops',
          passwordFile: '-',
          insecure: false,
        },
        () => {},
      ),
  ],
])('too much on standard input, which is to be %s, is refused in words', async (_, read) => {
  const stdin = vi.spyOn(process, 'stdin', 'get');
  stdin.mockReturnValue(Readable.from([Buffer.alloc(large)]) as never);
  try {
    const told = expect.stringContaining("can't be read: it has more than 32 MB.");
    await expect(read()).rejects.toMatchObject({ name: 'AgentError', message: told });
  } finally {
    stdin.mockRestore();
  }
});

test.runIf(process.platform === 'linux')('a device that never ends is not read to its end', async () => {
  await expect(readGivenText('/dev/zero')).rejects.toThrow('it has more than 32 MB');
});

test('text from a pipe is what its pieces are together, without a byte order mark', async () => {
  async function* pieces() {
    yield Buffer.from([0xef, 0xbb, 0xbf, 0xc3]);
    yield Buffer.from([0xa9]);
  }
  expect(await readGivenText(pieces())).toBe('é');
});
