// The master keys that a running server holds. The ring can be used wherever a single master key is expected: the
// active key wraps, and every key opens what it has wrapped.
import type { MasterKey } from './master-key.ts';

export class MasterKeyRing implements MasterKey {
  #keys: ReadonlyMap<string, MasterKey> = new Map();
  #active: MasterKey;

  /** @param active one of `masterKeys`. */
  constructor(masterKeys: readonly MasterKey[], active: MasterKey) {
    this.#active = active;
    this.hold(masterKeys);
  }

  get id(): string {
    return this.#active.id;
  }

  get key(): Buffer {
    return this.#active.key;
  }

  get ids(): string[] {
    return [...this.#keys.keys()];
  }

  find(id: string): MasterKey | undefined {
    return this.#keys.get(id);
  }

  /** Replaces the keys that the ring holds. The active key stays, even if it isn't among them. */
  hold(masterKeys: readonly MasterKey[]): void {
    this.#keys = new Map([...masterKeys, this.#active].map((each) => [each.id, each]));
  }

  /** Returns false, and changes nothing, if the ring doesn't hold that key. */
  activate(id: string): boolean {
    const found = this.#keys.get(id);
    if (found !== undefined) this.#active = found;
    return found !== undefined;
  }
}
