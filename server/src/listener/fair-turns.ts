// Turns of those who ask: in each turn of the event loop only so much is begun, of one after the other, and of each only so
// much is under way. Who asks for much at once keeps himself waiting, and not others; where nobody else asks, what comes is
// begun at once.

/** Each costs a fraction of a millisecond before it first waits for something, and again when it has waited. */
const beginsInATurn = 2;
/** What takes longer waits for something that is slow, and keeps nobody from the loop. */
const underWayMs = 12;

interface Request {
  begin(): void;
  state: 'waiting' | 'under way' | 'over';
}

interface Line {
  waiting: Request[];
  underWay: number;
}

export class FairTurns {
  readonly #mostUnderWay: number;
  /** By whose they are, in the order in which these have their turn. */
  readonly #lines = new Map<string, Line>();
  #begun = 0;

  /** `mostUnderWay`: of each. */
  constructor(mostUnderWay: number) {
    this.#mostUnderWay = mostUnderWay;
  }

  /** Begins it when its turn has come; what is returned is to be called at its end, and where nobody waits for it any more. */
  take(whose: string, begin: () => void): () => void {
    const line = this.#lines.get(whose) ?? { waiting: [], underWay: 0 };
    this.#lines.set(whose, line);
    const request: Request = { begin, state: 'waiting' };
    line.waiting.push(request);
    const end = () => this.#end(line, request);
    this.#beginSome();
    return end;
  }

  #beginSome(): void {
    for (const [whose, line] of this.#lines) {
      if (this.#begun >= beginsInATurn) return;
      const next = line.underWay < this.#mostUnderWay ? line.waiting.shift() : undefined;
      if (next !== undefined || line.underWay === 0) this.#lines.delete(whose);
      if (next === undefined) continue;
      // To the end of the round.
      this.#lines.set(whose, line);
      if (next.state === 'waiting') this.#begin(line, next);
    }
  }

  #begin(line: Line, request: Request): void {
    if (this.#begun === 0) setImmediate(this.#nextTurn);
    this.#begun += 1;
    line.underWay += 1;
    request.state = 'under way';
    setTimeout(() => this.#end(line, request), underWayMs).unref();
    request.begin();
  }

  readonly #nextTurn = () => {
    this.#begun = 0;
    this.#beginSome();
  };

  #end(line: Line, request: Request): void {
    const wasUnderWay = request.state === 'under way';
    request.state = 'over';
    if (!wasUnderWay) return;
    line.underWay -= 1;
    this.#beginSome();
  }
}
