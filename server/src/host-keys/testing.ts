// Host keys for tests.
import { randomBytes } from 'node:crypto';
import { parseHostKeyLine } from '../targets/host-key-line.ts';

/** Makes a key that no host has. */
export function makeHostKey(type = 'ssh-ed25519'): { line: string; fingerprint: string } {
  const part = (bytes: Buffer) => Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes]);
  const blob = Buffer.concat([part(Buffer.from(type)), part(randomBytes(32))]);
  const line = `${type} ${blob.toString('base64')}`;
  return { line, fingerprint: parseHostKeyLine(line)?.fingerprint ?? '' };
}
