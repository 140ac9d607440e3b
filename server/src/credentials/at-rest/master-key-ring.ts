// The master keys that a running server holds. It stands wherever one master key is asked for: what is wrapped anew is wrapped
// by the active one, what others have wrapped is opened by those.
import type { MasterKey } from './master-key.ts';

export class MasterKeyRing implements MasterKey {
  #keys: ReadonlyMap<string, MasterKey> = new Map();
  #active: MasterKey;

  /** @param active one of the keys. */
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

  /** Takes these in place of those that it holds; the active one stays. */
  hold(masterKeys: readonly MasterKey[]): void {
    this.#keys = new Map([...masterKeys, this.#active].map((each) => [each.id, each]));
  }

  /** False where it does not hold that one. */
  activate(id: string): boolean {
    const found = this.#keys.get(id);
    if (found !== undefined) this.#active = found;
    return found !== undefined;
  }
}
