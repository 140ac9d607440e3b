// Parses known_hosts as OpenSSH writes it (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): plain or hashed names, patterns and
// negations, `[host]:port`, the markers @cert-authority and @revoked, comments. A line that can't be used says why.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { matchesHostPatternList } from '@opsconductor/protocol';
import { type HostKeyLine, parseHostKeyLine } from '../targets/host-key-line.ts';

export interface KnownHostsLine {
  line: number;
  marker: 'key' | 'authority' | 'revoked';
  /** The names as written in the file. */
  hosts: string;
  /** Salt and HMAC-SHA1 of a hashed name. */
  hashed: { salt: Buffer; digest: Buffer } | undefined;
  key: HostKeyLine;
}
export interface UnusableLine {
  line: number;
  hosts: string;
  message: string;
}

const markers: Record<string, KnownHostsLine['marker']> = {
  '@cert-authority': 'authority',
  '@revoked': 'revoked',
};
const keyTypes = /^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa)$/;

/** Reads a `known_hosts` file line by line. Lines that are of no use come back with the reason, not as an exception. */
export function parseKnownHosts(content: string): { lines: KnownHostsLine[]; unusable: UnusableLine[] } {
  const lines: KnownHostsLine[] = [];
  const unusable: UnusableLine[] = [];
  content
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .forEach((text, index) => {
      const trimmed = text.trim();
      if (trimmed === '' || trimmed.startsWith('#')) return;
      const read = parseLine(trimmed, index + 1);
      if ('message' in read) unusable.push(read);
      else lines.push(read);
    });
  return { lines, unusable };
}

function parseLine(text: string, line: number): KnownHostsLine | UnusableLine {
  const words = text.split(/[ \t]+/);
  const first = words[0] ?? '';
  const marker = first.startsWith('@') ? markers[first] : 'key';
  const bad = (message: string, hosts = ''): UnusableLine => ({ line, hosts: shorten(hosts), message });
  if (marker === undefined) return bad(`The marker ${shorten(first)} is not one that OpenSSH knows.`);
  const [hosts, keyType, base64] = marker === 'key' ? words : words.slice(1);
  if (hosts === undefined || keyType === undefined || base64 === undefined) {
    return bad('It does not consist of host names, key type and key.', hosts);
  }
  if (/^\d+$/.test(keyType)) return bad('It is a key of SSH version 1, which is obsolete.', hosts);
  if (!keyTypes.test(keyType)) {
    return bad(`Keys of type ${shorten(keyType)} are not accepted: agents don’t offer them.`, hosts);
  }
  const key = parseHostKeyLine(`${keyType} ${base64}`);
  if (key === undefined) return bad(`What follows ${keyType} is not a key of that type.`, hosts);
  if (!hosts.startsWith('|')) return { line, marker, hosts, hashed: undefined, key };
  const [, version, salt, digest, ...rest] = hosts.split('|');
  const hashed = { salt: Buffer.from(salt ?? '', 'base64'), digest: Buffer.from(digest ?? '', 'base64') };
  if (version !== '1' || rest.length > 0 || hashed.salt.length !== 20 || hashed.digest.length !== 20) {
    return bad('Its hashed name can’t be read.', '(hashed)');
  }
  return { line, marker, hosts: '(hashed)', hashed, key };
}

/** Returns whether a line names a host, in the form that `knownHostName` returns. */
export function namesHost(
  { hosts, hashed }: Pick<KnownHostsLine, 'hosts' | 'hashed'>,
  name: string,
): boolean {
  if (hashed === undefined) return matchesHostPatternList(name, hosts);
  return timingSafeEqual(createHmac('sha1', hashed.salt).update(name).digest(), hashed.digest);
}

function shorten(text: string): string {
  const clean = text.replaceAll('\0', '').toWellFormed();
  return clean.length > 100 ? `${clean.slice(0, 99)}…` : clean;
}
