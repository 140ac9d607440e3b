import { expect, test } from 'vitest';
import { fingerprintCommand } from './key-file.ts';

test('the command that shows a fingerprint on the host is for the key that was offered, not for another one', () => {
  expect(fingerprintCommand('ssh-ed25519')).toBe('ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub');
  expect(fingerprintCommand('ecdsa-sha2-nistp256')).toBe('ssh-keygen -lf /etc/ssh/ssh_host_ecdsa_key.pub');
  expect(fingerprintCommand('ssh-rsa')).toBe('ssh-keygen -lf /etc/ssh/ssh_host_rsa_key.pub');
  expect(fingerprintCommand('rsa-sha2-512')).toBe('ssh-keygen -lf /etc/ssh/ssh_host_rsa_key.pub');
});

test('without a known type, it shows all keys of the host', () => {
  const all = 'for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf "$key"; done';
  expect(fingerprintCommand(undefined)).toBe(all);
  expect(fingerprintCommand('sk-ssh-ed25519@openssh.com')).toBe(all);
});
