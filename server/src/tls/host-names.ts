import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import type { JsonGeneralNames } from '@peculiar/x509';
import { TlsError } from './tls-error.ts';

const always = ['localhost', '127.0.0.1', '::1'];

/**
 * Returns the names that a certificate should be valid for, in a canonical order, so that equal sets give equal
 * certificates.
 */
export function alternativeNames(hostNames: string[]): JsonGeneralNames {
  const canonical = [...new Set([...hostNames, ...always].map(canonicalName))].sort();
  return canonical.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }));
}

function canonicalName(name: string): string {
  const bare = name.trim().replace(/^\[(.*)\]$/, '$1');
  if (isIP(bare) === 4) return bare;
  // The URL parser turns every spelling of an IPv6 address into that of RFC 5952.
  if (isIP(bare) === 6 && !bare.includes('%')) return new URL(`http://[${bare}]`).hostname.slice(1, -1);
  const wildcard = bare.startsWith('*.') ? '*.' : '';
  const ascii = domainToASCII(bare.slice(wildcard.length)).toLowerCase();
  const labels = ascii.split('.');
  if (ascii.length > 253 || !labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label))) {
    throw new TlsError(
      `"${name}" is not a host name for a certificate. Allowed are DNS names and IP addresses, without port or scheme.`,
    );
  }
  return wildcard + ascii;
}
