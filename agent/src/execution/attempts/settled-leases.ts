// Leases that are over, by their tokens: one that arrives again was given once and is not begun a second time, though
// nothing is kept of its attempt any more. What does not come within thousands of others never does: a connection
// keeps the order, and a new one is told by its resume what it holds.
const mostRemembered = 4_096;

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
