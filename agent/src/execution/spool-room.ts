// Makes room on a disk that is full or nearly so: output that the server has confirmed is removed. Otherwise it is kept
// until its attempt is settled, since a server that was restored from a backup asks for it again.
import type { Logger } from 'pino';
import type { Attempt } from './attempts/attempt.ts';

export interface SpoolRoomOptions {
  attempts: Iterable<Pick<Attempt, 'step' | 'epoch' | 'output' | 'forgotten'>>;
  isConnected(): boolean;
  log: Logger;
}

export class SpoolRoom {
  readonly #options: SpoolRoomOptions;
  #releasing: Promise<number> | undefined;
  /** Outputs that are being removed with their attempts. */
  #removing = 0;
  /** How often something has happened after which there may be room. */
  #changes = 0;
  #waiters: (() => void)[] = [];

  constructor(options: SpoolRoomOptions) {
    this.#options = options;
  }

  /** Removes what can be removed. Returns how many bytes were freed. Never rejects. */
  release(): Promise<number> {
    this.#releasing ??= this.#releaseAll().finally(() => {
      this.#releasing = undefined;
    });
    return this.#releasing;
  }

  /**
   * Resolves with true when it is worth trying to write again. While the server is there, that may take until it has
   * confirmed more, or until a settled attempt's output is gone: meanwhile the commands wait.
   */
  async makeRoom(): Promise<boolean> {
    const before = this.#changes;
    if ((await this.release()) > 0) return true;
    // What was confirmed meanwhile may have been looked at before that.
    if (this.#changes !== before) return true;
    const { attempts, isConnected } = this.#options;
    const isAwaited = ({ forgotten, output }: Pick<Attempt, 'forgotten' | 'output'>) =>
      !forgotten && output.awaitsConfirmation;
    if (this.#removing === 0 && !(isConnected() && [...attempts].some(isAwaited))) return false;
    await new Promise<void>((resolve) => this.#waiters.push(resolve));
    return true;
  }

  /** Called when the server has confirmed output, and when the connection is gone. */
  confirmedOrGone(): void {
    this.#changes += 1;
    for (const wake of this.#waiters.splice(0)) wake();
  }

  /**
   * Called when an attempt is not held any more: nobody may wait for the server to confirm its output.
   *
   * @param removed resolves when the output is gone from the disk, as far as that is possible.
   */
  async settled(removed: Promise<void>): Promise<void> {
    this.#removing += 1;
    // The output may itself wait for room.
    this.confirmedOrGone();
    await removed;
    this.#removing -= 1;
    this.confirmedOrGone();
  }

  async #releaseAll(): Promise<number> {
    const { attempts, log } = this.#options;
    let freedBytes = 0;
    for (const { step, epoch, output } of [...attempts]) {
      try {
        freedBytes += await output.release();
      } catch (error) {
        log.warn({ err: error, step, epoch }, 'confirmed output of this attempt could not be removed');
      }
    }
    if (freedBytes > 0)
      log.info({ freedBytes }, 'output that the server has confirmed was removed: the disk is nearly full');
    return freedBytes;
  }
}
