import { quote } from '../../ssh/quote.ts';
import type { SftpLink } from './sftp-link.ts';

/**
 * Asks the target for the SHA-256 of a file's first bytes, in hex, so that they need not be read back. Undefined if the
 * target has no shell or no program for that.
 */
export async function remoteHash(link: SftpLink, path: string, length: number): Promise<string | undefined> {
  const output = await link.run(`${script(path, length)}\n`);
  return output === undefined ? undefined : /\b[0-9a-f]{64}\b/.exec(output)?.[0];
}

function script(path: string, length: number): string {
  return [
    '{',
    'hash() {',
    'if command -v sha256sum >/dev/null 2>&1; then sha256sum',
    'elif command -v shasum >/dev/null 2>&1; then shasum -a 256',
    'elif command -v openssl >/dev/null 2>&1; then openssl dgst -sha256',
    'else exit 1; fi',
    '}',
    `head -c ${length} < ${quote(path)} | hash`,
    'exit $?',
    '}',
  ].join('\n');
}
