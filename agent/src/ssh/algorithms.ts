// Chooses the algorithms that are offered to a target, by its policy. RFC 9142 says which are current.
import type { SshAlgorithmPolicy } from '@opsconductor/protocol';
import type { Algorithms, CipherAlgorithm, KexAlgorithm, MacAlgorithm, ServerHostKeyAlgorithm } from 'ssh2';
import type { StepTarget } from '../steps/step-type.ts';
import { algorithmsByKeyType, hostKeyAlgorithms, legacyAlgorithmsByKeyType } from './host-key.ts';
import { certificateAlgorithms } from './host-keys/certified-key-exchange.ts';

interface Policy {
  /** `undefined` means ssh2's defaults, which don't include SHA-1. */
  kex: KexAlgorithm[] | undefined;
  ciphers: CipherAlgorithm[];
  macs: MacAlgorithm[];
  hostKeys: typeof algorithmsByKeyType;
}

const current: Policy = {
  kex: undefined,
  // Fastest first: AES-GCM runs in hardware, and ssh2 is twice as fast with it as with ChaCha20. No CBC; and no
  // MAC with SHA-1.
  ciphers: [
    'aes128-gcm@openssh.com',
    'aes256-gcm@openssh.com',
    'chacha20-poly1305@openssh.com',
    'aes128-ctr',
    'aes192-ctr',
    'aes256-ctr',
  ],
  macs: ['hmac-sha2-256-etm@openssh.com', 'hmac-sha2-512-etm@openssh.com', 'hmac-sha2-256', 'hmac-sha2-512'],
  hostKeys: algorithmsByKeyType,
};

const policies: Record<SshAlgorithmPolicy, Policy> = {
  current,
  // Current algorithms come first, so that a device that has been updated uses them.
  legacy: {
    kex: [
      'curve25519-sha256',
      'curve25519-sha256@libssh.org',
      'ecdh-sha2-nistp256',
      'ecdh-sha2-nistp384',
      'ecdh-sha2-nistp521',
      'diffie-hellman-group-exchange-sha256',
      'diffie-hellman-group14-sha256',
      'diffie-hellman-group16-sha512',
      'diffie-hellman-group18-sha512',
      'diffie-hellman-group14-sha1',
      'diffie-hellman-group-exchange-sha1',
      'diffie-hellman-group1-sha1',
    ],
    ciphers: [...current.ciphers, 'aes128-cbc', 'aes192-cbc', 'aes256-cbc', '3des-cbc'],
    macs: [...current.macs, 'hmac-sha1-etm@openssh.com', 'hmac-sha1'],
    hostKeys: legacyAlgorithmsByKeyType,
  },
};

/** Returns the algorithms that ssh2 offers to a target. */
export function algorithmsFor({
  hostKeys,
  hostAuthorities = [],
  algorithms = 'current',
}: Pick<StepTarget, 'hostKeys' | 'hostAuthorities' | 'algorithms'>): Algorithms {
  const { kex, ciphers, macs, hostKeys: byKeyType } = policies[algorithms];
  const certificates = hostAuthorities.length === 0 ? [] : certificateAlgorithms;
  return {
    ...(kex === undefined ? {} : { kex }),
    cipher: ciphers,
    hmac: macs,
    serverHostKey: [
      ...(certificates as readonly ServerHostKeyAlgorithm[]),
      ...hostKeyAlgorithms(hostKeys, byKeyType),
    ],
    compress: ['none'],
  };
}
