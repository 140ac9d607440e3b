// Room for request bodies that are held in memory: bodies that never end would fill it otherwise. What one caller may take
// of it leaves the rest to others.
import { AppError } from '../../errors.ts';

export interface RoomLimits {
  /** Of all bodies together. */
  maxBytes: number;
  /** Of one caller's. */
  maxBytesEach: number;
  /** A body that says that it is no longer than this takes nothing of the room. */
  freeBytes: number;
}

/** What one request has of the room. */
export interface BodyShare {
  readonly freeBytes: number;
  /**
   * Takes so much more, of what has come: what is only promised would keep others out by silence.
   *
   * @throws AppError `rate_limited` with Retry-After.
   */
  take(bytes: number): void;
  /** Gives all of it back. */
  release(): void;
}

export class BodyRoom {
  readonly #limits: RoomLimits;
  #bytes = 0;
  readonly #byCaller = new Map<string, number>();

  constructor(limits: RoomLimits) {
    this.#limits = limits;
  }

  /** `caller`: whose bodies count together. */
  share(caller: string): BodyShare {
    let taken = 0;
    return {
      freeBytes: this.#limits.freeBytes,
      take: (bytes) => {
        const own = (this.#byCaller.get(caller) ?? 0) + bytes;
        if (own > this.#limits.maxBytesEach || this.#bytes + bytes > this.#limits.maxBytes) {
          const message =
            own > this.#limits.maxBytesEach
              ? `The bodies of your requests that are under way come to more than ${this.#limits.maxBytesEach} bytes; send fewer of them at a time.`
              : 'The bodies of many requests are being read; try again in a second.';
          throw new AppError('rate_limited', message, { retryAfterS: 1 });
        }
        this.#bytes += bytes;
        this.#byCaller.set(caller, own);
        taken += bytes;
      },
      release: () => {
        this.#bytes -= taken;
        const own = (this.#byCaller.get(caller) ?? 0) - taken;
        if (own > 0) this.#byCaller.set(caller, own);
        else this.#byCaller.delete(caller);
        taken = 0;
      },
    };
  }
}
