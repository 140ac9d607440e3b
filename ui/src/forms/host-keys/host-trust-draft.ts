// Checks an authority or a revoked key while it is typed.

const keyTypes = /^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa)$/;

/** Returns undefined for what looks like an OpenSSH public key; the server parses it fully. */
export function publicKeyProblem(text: string): string | undefined {
  const line = text.trim();
  if (/PRIVATE KEY/.test(line))
    return 'This is a private key. Paste the public one, the line of the .pub file.';
  if (/[\r\n]/.test(line)) return 'These are several lines. Add one key at a time.';
  const words = line.split(/\s+/);
  const [first = '', second] = words;
  if (first.startsWith('@') || (!keyTypes.test(first) && words.some((word) => keyTypes.test(word)))) {
    return `Leave out what comes before the key type: this is a line of known_hosts. Begin with ${words.find((word) => keyTypes.test(word)) ?? 'ssh-ed25519'}.`;
  }
  if (/-cert-v01@openssh\.com$/.test(first)) {
    return 'This is a certificate. Paste the public key of the authority that signed it.';
  }
  if (!keyTypes.test(first)) {
    return `It has to begin with a key type: ssh-ed25519, ecdsa-sha2-nistp256, -384, -521 or ssh-rsa. Found ${first.slice(0, 40)}.`;
  }
  if (second === undefined || !/^AAAA[A-Za-z0-9+/]+={0,2}$/.test(second)) {
    return `After ${first}, the key in base64 is missing or cut off.`;
  }
  return undefined;
}

/** Returns undefined for a valid OpenSSH pattern list. */
export function hostPatternsProblem(text: string): string | undefined {
  const bad = text
    .trim()
    .split(',')
    .find((one) => !/^!?[A-Za-z0-9_.:*?-]+$/.test(one));
  if (bad === undefined) {
    const onlyNot = text.split(',').every((one) => one.trim().startsWith('!'));
    return onlyNot
      ? 'It names only hosts to leave out, so no host matches. Add one that matches, such as *.'
      : undefined;
  }
  if (bad === '') return 'There is a comma with nothing beside it.';
  if (/\s/.test(bad)) return `“${bad}” has a space. Separate hosts by commas alone.`;
  if (/[[\]]/.test(bad))
    return `“${bad}” has brackets. An authority is for hosts on every port; leave the port out.`;
  return `“${bad}” is not a host pattern: letters, digits, . - _ : and * or ? are allowed, ! in front.`;
}
