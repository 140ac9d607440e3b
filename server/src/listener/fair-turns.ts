// Turns of those who ask: in each turn of the event loop only so much is begun, of one after the other, and of each only so
// much is under way that has not taken long yet. Who asks for much at once keeps himself waiting, and not others; where nobody else asks, what comes is
// begun at once.

/** Each costs a fraction of a millisecond before it first waits for something, and again when it has waited. */
const beginsInATurn = 2;
/**
 * However long the turn before took: it may have been that long by what was begun in it, which would be more from turn to turn. So, too,
 * where what was begun has taken so long itself, no more than a few are.
 */
const mostBeginsInATurn = 16;
const beginMsInATurn = 4;
const fewBeginsInATurn = 4;
/** What takes longer counts no more: it waits for something that is slow, and keeps nobody from the loop. */
const underWayMs = 12;

export interface TurnLimits {
  /** Of each. */
  mostUnderWay: number;
  /** Of each: what is asked beyond this is to come again. */
  mostWaiting: number;
  /**
   * Where a turn takes long, as on a busy machine, so many are begun for each millisecond of it: they would come faster than they were begun
   * otherwise, and wait for seconds.
   */
  beginsInAMs: number;
  beginsOfEachInAMs: number;
}

interface Request {
  begin(): void;
  state: 'waiting' | 'under way' | 'over';
}

interface Line {
  waiting: Set<Request>;
  underWay: number;
}

export class FairTurns {
  readonly #limits: TurnLimits;
  /** By whose they are, in the order in which these have their turn. */
  readonly #lines = new Map<string, Line>();
  readonly #now: () => number;
  #begun = 0;
  /** How long these took. */
  #beginMs = 0;
  /** When it was begun for the first time in this turn. */
  #begunAtMs = 0;
  #lastTurnMs = 0;

  constructor(limits: TurnLimits, now = () => performance.now()) {
    this.#limits = limits;
    this.#now = now;
  }

  /**
   * Begins it when its turn has come; what is returned is to be called at its end, and where nobody waits for it any more. Undefined
   * where too many of the same wait already.
   */
  take(whose: string, begin: () => void): (() => void) | undefined {
    const line = this.#lines.get(whose) ?? { waiting: new Set(), underWay: 0 };
    if (line.waiting.size >= this.#limits.mostWaiting) return undefined;
    this.#lines.set(whose, line);
    const request: Request = { begin, state: 'waiting' };
    line.waiting.add(request);
    const end = () => this.#end(line, request);
    this.#beginSome();
    return end;
  }

  #beginSome(): void {
    const { beginsInAMs, beginsOfEachInAMs } = this.#limits;
    const most = Math.max(beginsInATurn, Math.min(this.#lastTurnMs * beginsInAMs, mostBeginsInATurn));
    const mostUnderWay =
      this.#limits.mostUnderWay + Math.min(this.#lastTurnMs * beginsOfEachInAMs, mostBeginsInATurn);
    for (const [whose, line] of this.#lines) {
      if (this.#begun >= (this.#beginMs < beginMsInATurn ? most : Math.min(most, fewBeginsInATurn))) return;
      const [next] = line.underWay < mostUnderWay ? line.waiting : [];
      if (next !== undefined || line.underWay === 0) this.#lines.delete(whose);
      if (next === undefined) continue;
      line.waiting.delete(next);
      // To the end of the round.
      this.#lines.set(whose, line);
      this.#begin(line, next);
    }
  }

  #begin(line: Line, request: Request): void {
    const nowMs = this.#now();
    if (this.#begun === 0) {
      this.#begunAtMs = nowMs;
      setImmediate(this.#nextTurn);
    }
    this.#begun += 1;
    line.underWay += 1;
    request.state = 'under way';
    setTimeout(() => this.#end(line, request), underWayMs).unref();
    request.begin();
    this.#beginMs += this.#now() - nowMs;
  }

  readonly #nextTurn = () => {
    this.#begun = 0;
    this.#beginMs = 0;
    this.#lastTurnMs = this.#now() - this.#begunAtMs;
    this.#beginSome();
    this.#lastTurnMs = 0;
  };

  #end(line: Line, request: Request): void {
    const wasUnderWay = request.state === 'under way';
    request.state = 'over';
    line.waiting.delete(request);
    if (!wasUnderWay) return;
    line.underWay -= 1;
    this.#beginSome();
  }
}
