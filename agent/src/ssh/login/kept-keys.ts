// Private keys as they were read, for a while after their last use. Reading one that has a passphrase takes the main
// thread a third of a second, or as long as its owner wanted, and a run on 300 hosts logs in 300 times.
import { createHash, createPrivateKey, sign } from 'node:crypto';
import type { ParsedKey } from 'ssh2';
import { parsePrivateKey } from './private-key.ts';

/** As long as an opened credential is kept. */
const keptMs = 300_000;
const maxKept = 64;

interface Kept {
  read(): ParsedKey;
  timer: NodeJS.Timeout;
}

export class KeptKeys {
  readonly #read: typeof parsePrivateKey;
  readonly #kept = new Map<string, Kept>();

  /** @param read reads a key that is not kept; by default `parsePrivateKey`. */
  constructor(read: typeof parsePrivateKey = parsePrivateKey) {
    this.#read = read;
  }

  /** Like `parsePrivateKey`; that a key can't be read is kept, too. */
  parse(text: string, passphrase: string | undefined): ParsedKey {
    const name = createHash('sha256')
      .update(JSON.stringify([text, passphrase]))
      .digest('base64');
    const kept = this.#kept.get(name) ?? this.#keep(name, this.#attempt(text, passphrase));
    kept.timer.refresh();
    return kept.read();
  }

  #keep(name: string, read: Kept['read']): Kept {
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= maxKept && oldest !== undefined) this.#forget(oldest);
    const kept = { read, timer: setTimeout(() => this.#forget(name), keptMs).unref() };
    this.#kept.set(name, kept);
    return kept;
  }

  #forget(name: string): void {
    clearTimeout(this.#kept.get(name)?.timer);
    this.#kept.delete(name);
  }

  #attempt(text: string, passphrase: string | undefined): Kept['read'] {
    try {
      const key = signingOnce(this.#read(text, passphrase));
      return () => key;
    } catch (error) {
      return () => {
        throw error;
      };
    }
  }
}

export const keptKeys = new KeptKeys();

/** Has OpenSSL read an Ed25519 key once, and not for each signature, which takes ten times as long as signing. */
function signingOnce(key: ParsedKey): ParsedKey {
  if (key.type !== 'ssh-ed25519') return key;
  const privateKey = createPrivateKey(key.getPrivatePEM());
  return Object.assign(Object.create(key) as ParsedKey, {
    sign: (data: Buffer | string) => sign(null, Buffer.from(data), privateKey),
  });
}
