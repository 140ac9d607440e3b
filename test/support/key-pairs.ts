// SSH key pairs as OpenSSH text.
import ssh2 from 'ssh2';

/** @param protection passphrase, cipher and rounds, if the private key should be encrypted. */
export function ed25519KeyPair(protection: { passphrase?: string; cipher?: string; rounds?: number } = {}): {
  private: string;
  public: string;
} {
  for (;;) {
    const pair = ssh2.utils.generateKeyPairSync('ed25519', protection as object);
    // ssh2 1.17 drops a key's leading zero byte, and what it then writes can't be read.
    const texts = [pair.private, pair.public];
    if (texts.some((text) => ssh2.utils.parseKey(text, protection.passphrase) instanceof Error)) continue;
    return pair;
  }
}
