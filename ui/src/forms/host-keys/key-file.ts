// How the fingerprint of a host's key is read on the host itself.

const folder = '/etc/ssh';

/**
 * Returns the command for a key of this type; for one that is not known, the command for all of the host's keys. Another
 * key's fingerprint would never match.
 */
export function fingerprintCommand(keyType: string | undefined): string {
  const name = fileNameOf(keyType);
  return name === undefined
    ? `for key in ${folder}/ssh_host_*_key.pub; do ssh-keygen -lf "$key"; done`
    : `ssh-keygen -lf ${folder}/${name}`;
}

function fileNameOf(keyType = ''): string | undefined {
  if (keyType === 'ssh-ed25519') return 'ssh_host_ed25519_key.pub';
  if (keyType.startsWith('ecdsa-sha2-')) return 'ssh_host_ecdsa_key.pub';
  return keyType === 'ssh-rsa' || keyType.startsWith('rsa-sha2-') ? 'ssh_host_rsa_key.pub' : undefined;
}
