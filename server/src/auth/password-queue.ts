// Passwords cost memory and time by design, so few are computed at once and few may wait. Who floods must not shut
// others out: who is known is taken before who is not, addresses take turns, and where all places are taken the address
// that has most gives one up to an address that has fewer.
import { AppError } from '../errors.ts';

export interface QueueLimits {
  maxConcurrent: number;
  /** Who may wait, of those that are known and of all others. */
  maxKnown: number;
  maxOthers: number;
  /** Of one address. */
  maxPerAddress: number;
}

/** Who asks for a place. Known: signed in already, or from an address that the password was right from before. */
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
  /** By address, the one that is next first. */
  readonly #others = new Map<string, Waiting[]>();
  #waitingOthers = 0;
  #running = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  /** @throws AppError `unavailable`, with when to try again, where too many wait already. */
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

  /** Turns away the last of the address that has most waiting, unless that would only change who is turned away. */
  #displaceFor(ownCount: number): void {
    let most: Waiting[] = [];
    for (const others of this.#others.values()) if (others.length > most.length) most = others;
    if (most.length <= ownCount + 1) throw tooMany();
    this.#waitingOthers--;
    most.pop()?.refuse(tooMany());
  }

  /** The place goes to the next in turn, without ever being free. */
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
