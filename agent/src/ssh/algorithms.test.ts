import { expect } from 'vitest';
import { setupSshd, sshTest } from './sshd-setup.ts';

sshTest('only the legacy policy offers the algorithms of old devices', async () => {
  const t = await setupSshd({
    hostKeys: ['rsa'],
    config: [
      'KexAlgorithms diffie-hellman-group14-sha1',
      'Ciphers aes128-cbc',
      'MACs hmac-sha1',
      'HostKeyAlgorithms ssh-rsa',
    ],
  });
  const refused = await t.refusal();
  expect(refused.reason).toBe('no_common_algorithm');
  expect(refused.advice).toContain('ssh_algorithms');
  const connection = await t.connect({}, { algorithms: 'legacy' });
  expect(connection.cipher).toBe('aes128-cbc');
});

sshTest('the legacy policy uses current algorithms if the server offers them', async () => {
  const t = await setupSshd({ hostKeys: ['rsa', 'ed25519'] });
  const connection = await t.connect({}, { algorithms: 'legacy', hostKeys: t.sshd.hostKeyLines });
  expect(connection.cipher).toBe('aes128-gcm@openssh.com');
});
