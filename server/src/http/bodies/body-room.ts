// Limits the memory for request bodies that are still being read; bodies that never end would fill it otherwise. One
// caller's limit is smaller than the whole, so that others can still send.
import { AppError } from '../../errors.ts';

export interface RoomLimits {
  /** For all bodies together. */
  maxBytes: number;
  /** For the bodies of one caller. */
  maxBytesEach: number;
  /** A body that announces at most this length takes no room. */
  freeBytes: number;
}

/** What one request takes of the room. */
export interface BodyShare {
  readonly freeBytes: number;
  /**
   * Takes room for bytes that have arrived. Bytes that are only announced don't count, or a silent client could keep
   * others out.
   * @throws AppError `rate_limited` with Retry-After.
   */
  take(bytes: number): void;
  /** Gives everything back. */
  release(): void;
}

export class BodyRoom {
  readonly #limits: RoomLimits;
  #bytes = 0;
  readonly #byCaller = new Map<string, number>();

  constructor(limits: RoomLimits) {
    this.#limits = limits;
  }

  /** `caller`: whose bodies are counted together. */
  share(caller: string): BodyShare {
    let taken = 0;
    return {
      freeBytes: this.#limits.freeBytes,
      take: (bytes) => {
        const own = (this.#byCaller.get(caller) ?? 0) + bytes;
        if (own > this.#limits.maxBytesEach || this.#bytes + bytes > this.#limits.maxBytes) {
          const message =
            own > this.#limits.maxBytesEach
              ? `The bodies of your requests that are under way have more than ${this.#limits.maxBytesEach} bytes in all; send fewer of them at a time.`
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
