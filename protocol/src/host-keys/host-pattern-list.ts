// Pattern lists in OpenSSH's format, as in known_hosts: `*.example.com,!canary.example.com`.

/** Whether a name matches one pattern: `*` stands for any text, `?` for one character. Ignores case. */
export function matchesHostPattern(name: string, pattern: string): boolean {
  const text = name.toLowerCase();
  const wanted = pattern.toLowerCase();
  let at = 0;
  let place = 0;
  let star = -1;
  let retry = 0;
  // Linear in practice, and at worst the product of the lengths: after a mismatch only the last star takes one more.
  while (at < text.length) {
    if (place < wanted.length && wanted[place] === '*') {
      star = place;
      retry = at;
      place += 1;
    } else if (place < wanted.length && (wanted[place] === '?' || wanted[place] === text[at])) {
      place += 1;
      at += 1;
    } else if (star !== -1) {
      retry += 1;
      at = retry;
      place = star + 1;
    } else return false;
  }
  while (wanted[place] === '*') place += 1;
  return place === wanted.length;
}

/**
 * Whether a list names a host: at least one pattern matches, and none that is negated with `!` does.
 *
 * @param list Patterns separated by commas.
 */
export function matchesHostPatternList(name: string, list: string): boolean {
  let isNamed = false;
  for (const part of list.split(',')) {
    const pattern = part.trim();
    if (pattern === '' || pattern === '!') continue;
    if (pattern.startsWith('!')) {
      if (matchesHostPattern(name, pattern.slice(1))) return false;
    } else if (!isNamed) isNamed = matchesHostPattern(name, pattern);
  }
  return isNamed;
}

/** Returns the known_hosts name of a host at a port: `[web-1]:2222`, or just `web-1` for port 22. */
export function knownHostName(host: string, port: number): string {
  const name = host.toLowerCase();
  return port === 22 ? name : `[${name}]:${port}`;
}
