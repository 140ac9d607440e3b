// Host patterns of a credential's bounds: `db1.example.com`, `web-*.example.com`, `10.1.2.3`, or `*` for any host.
import { parseAddress } from './ip-address.ts';

const maxHostLength = 253;
const label = /^[a-z0-9_*-]{1,63}$/;

/**
 * Returns what is wrong with a pattern, or `undefined`.
 *
 * `*` alone matches any host. Otherwise, a pattern has as many dot-separated labels as the host, and `*` stands for one
 * or more characters within its label. There may be one in each label, but if there are several labels none in the last
 * one, which would match other people's domains. Addresses can't contain `*`; use `networks` for them.
 */
export function hostPatternProblem(pattern: string): string | undefined {
  if (pattern === '*' || parseAddress(pattern) !== undefined) return undefined;
  if (pattern.length > maxHostLength) return `is longer than ${maxHostLength} characters`;
  const labels = normalized(pattern).split('.');
  if (!labels.every((part) => label.test(part))) {
    return 'must be a host name of letters, digits, hyphens and underscores, an IP address, or such a name with *';
  }
  if (labels.some((part) => part.indexOf('*') !== part.lastIndexOf('*'))) {
    return 'may have one * in each label';
  }
  const last = labels.at(-1) ?? '';
  const isPartOfAddress = labels.every((part) => /^[0-9*]+$/.test(part));
  if (labels.length > 1 && last.includes('*') && !isPartOfAddress) {
    return 'may not have a * in its last label, which would match the domains of others';
  }
  if (pattern.includes('*') && /^[0-9*]+$/.test(last)) {
    return 'may not match parts of an IP address; name the network in networks, such as 10.0.0.0/24';
  }
  return undefined;
}

/** Whether a configured host matches a valid pattern. Ignores case and a final dot. */
export function matchesHost(pattern: string, host: string): boolean {
  if (pattern === '*') return true;
  const [patternAddress, hostAddress] = [parseAddress(pattern), parseAddress(host)];
  if (patternAddress !== undefined || hostAddress !== undefined) {
    return (
      patternAddress !== undefined &&
      hostAddress !== undefined &&
      patternAddress.family === hostAddress.family &&
      patternAddress.value === hostAddress.value
    );
  }
  const patternLabels = normalized(pattern).split('.');
  const hostLabels = normalized(host).split('.');
  return (
    patternLabels.length === hostLabels.length &&
    patternLabels.every((part, at) => matchesLabel(part, hostLabels[at] ?? ''))
  );
}

function matchesLabel(pattern: string, text: string): boolean {
  const star = pattern.indexOf('*');
  if (star === -1) return pattern === text;
  const [before, after] = [pattern.slice(0, star), pattern.slice(star + 1)];
  return text.length > before.length + after.length && text.startsWith(before) && text.endsWith(after);
}

/** Folds only ASCII letters: toLowerCase() would turn the Kelvin sign into a k. */
function normalized(name: string): string {
  const folded = name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  return folded.endsWith('.') ? folded.slice(0, -1) : folded;
}
