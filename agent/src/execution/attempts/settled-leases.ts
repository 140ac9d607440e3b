// Remembers the tokens of leases that are over, and the keys of their attempts, so that what arrives twice is not begun
// or prepared a second time although nothing else is kept of its attempt. The last few thousand are enough: one
// connection keeps the order, and a new one starts with a resume that says what the agent holds.
const mostRemembered = 8_192;

export class SettledLeases {
  readonly #most: number;
  /** Oldest first. */
  readonly #names = new Set<string>();

  constructor(most = mostRemembered) {
    this.#most = most;
  }

  add(tokenOrKey: string): void {
    this.#names.add(tokenOrKey);
    if (this.#names.size <= this.#most) return;
    for (const oldest of this.#names) {
      this.#names.delete(oldest);
      return;
    }
  }

  has(tokenOrKey: string): boolean {
    return this.#names.has(tokenOrKey);
  }
}
