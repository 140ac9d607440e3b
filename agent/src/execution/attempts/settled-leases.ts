// Remembers the tokens and names of leases that are over, so that what arrives twice is not begun or prepared a second
// time although nothing else is kept of its attempt. The last few thousand are enough: one connection keeps the order,
// and a new one starts with a resume that says what the agent holds.
const mostRemembered = 8_192;

export class SettledLeases {
  readonly #most: number;
  /** Oldest first. */
  readonly #tokens = new Set<string>();

  constructor(most = mostRemembered) {
    this.#most = most;
  }

  add(leaseToken: string): void {
    this.#tokens.add(leaseToken);
    if (this.#tokens.size <= this.#most) return;
    for (const oldest of this.#tokens) {
      this.#tokens.delete(oldest);
      return;
    }
  }

  has(leaseToken: string): boolean {
    return this.#tokens.has(leaseToken);
  }
}
