// Hashing passwords costs memory and time by design, so only a few run at once and only a few may wait. A flood must
// not shut others out: known applicants go before unknown ones, addresses take turns, and if all places are taken, the
// address with the most gives one up to an address with fewer.
import { AppError } from '../../errors.ts';

export interface QueueLimits {
  maxConcurrent: number;
  /** How many may wait: of known applicants, and of all others. */
  maxKnown: number;
  maxOthers: number;
  /** How many may wait from one address. */
  maxPerAddress: number;
}

/**
 * Someone who asks for a place. Known: already signed in, or from an address from which the password was right before.
 */
export interface Applicant {
  address: string;
  isKnown: boolean;
}

interface Waiting {
  enter(): void;
  refuse(error: AppError): void;
}

const retryAfterS = 5;

export class PasswordQueue {
  readonly #limits: QueueLimits;
  readonly #known: Waiting[] = [];
  /** Keyed by address, the next in turn first. */
  readonly #others = new Map<string, Waiting[]>();
  #waitingOthers = 0;
  #running = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  /** @throws AppError `unavailable`, with when to try again, if too many are waiting already. */
  async run<T>(applicant: Applicant, work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#limits.maxConcurrent) this.#running++;
    else await new Promise<void>((enter, refuse) => this.#wait(applicant, { enter, refuse }));
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  #wait(applicant: Applicant, waiting: Waiting): void {
    const { maxKnown, maxOthers, maxPerAddress } = this.#limits;
    if (applicant.isKnown) {
      if (this.#known.length >= maxKnown) throw tooMany();
      this.#known.push(waiting);
      return;
    }
    const own = this.#others.get(applicant.address) ?? [];
    if (own.length >= maxPerAddress) throw tooMany();
    if (this.#waitingOthers >= maxOthers) this.#displaceFor(own.length);
    own.push(waiting);
    this.#waitingOthers++;
    this.#others.set(applicant.address, own);
  }

  /**
   * Turns away the last applicant of the address with the most waiting, unless that would only exchange one for
   * another.
   */
  #displaceFor(ownCount: number): void {
    let most: Waiting[] = [];
    for (const others of this.#others.values()) if (others.length > most.length) most = others;
    if (most.length <= ownCount + 1) throw tooMany();
    this.#waitingOthers--;
    most.pop()?.refuse(tooMany());
  }

  /** Passes the place on to the next in turn, without ever freeing it in between. */
  #leave(): void {
    const next = this.#known.shift() ?? this.#nextOther();
    if (next === undefined) this.#running--;
    else next.enter();
  }

  #nextOther(): Waiting | undefined {
    const [address, own] = this.#others.entries().next().value ?? [];
    const next = own?.shift();
    if (address === undefined || own === undefined || next === undefined) return undefined;
    this.#waitingOthers--;
    this.#others.delete(address);
    if (own.length > 0) this.#others.set(address, own);
    return next;
  }
}

function tooMany(): AppError {
  return new AppError('unavailable', 'Too many sign-ins at once; try again in a few seconds.', {
    retryAfterS,
  });
}
