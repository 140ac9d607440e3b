// Whether the server answers, and since when what is on the screen may be out of date.

export type LiveState = 'live' | 'reconnecting';

class Connection {
  #reachable = $state(true);
  /** Number of event streams that wait to reconnect. */
  #streamsDown = $state(0);
  #asOf = $state(Date.now());

  readonly state: LiveState = $derived(this.#reachable && this.#streamsDown === 0 ? 'live' : 'reconnecting');
  /** When the server last answered, in ms since the epoch. */
  readonly asOf = $derived(this.#asOf);

  answered(reachable: boolean): void {
    this.#reachable = reachable;
    if (reachable) this.#asOf = Date.now();
  }

  /** Called when something arrived on a stream. */
  heard(): void {
    this.#asOf = Date.now();
  }

  streamDown(): void {
    this.#streamsDown += 1;
  }

  streamUp(): void {
    this.#streamsDown = Math.max(0, this.#streamsDown - 1);
  }
}

export const connection = new Connection();
