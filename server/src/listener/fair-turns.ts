// Serves requests in fair turns. In each turn of the event loop only a few are begun, in rotation among the askers, and
// of each asker only a limited number is under way that has not taken long yet. So whoever asks for much at once delays
// only themselves; if nobody else asks, requests are begun at once.

/**
 * How many may be begun in any turn. Each costs a fraction of a millisecond before it first waits for something, and
 * again after that.
 */
const beginsInATurn = 2;
/**
 * The most that are begun in a turn, however long the previous one took: it may have been long because of what was
 * begun in it, and the number would grow from turn to turn. For the same reason, once beginning requests has taken
 * `beginMsInATurn`, no more than `fewBeginsInATurn` are begun.
 */
const mostBeginsInATurn = 16;
const beginMsInATurn = 4;
const fewBeginsInATurn = 4;
/**
 * A request that takes longer no longer counts as under way: it waits for something slow and keeps nobody from the
 * loop.
 */
const underWayMs = 12;
/**
 * An asker beyond its `atWill` rate gets a fifth of the time, so that other requests seldom meet one of its own.
 */
const pausesPerWork = 4;
/** How long, at most, a request holds back those that give way. */
const keepsBackMs = 100;
/** Anyone who asked this recently is a reason to slow others down. */
const othersMs = 1_000;
/** How many requests beyond the burst are remembered: as many as are forgotten in a fifth of a second. */
const rememberedBeyond = 20;

export interface TurnLimits {
  /** Per asker. */
  mostUnderWay: number;
  /**
   * Per asker while somebody else asks, too: two processors busy with six requests of one asker have little left for
   * another's. The same as `mostUnderWay` by default.
   */
  mostBesideOthers?: number;
  /** Per asker; requests beyond this are refused and have to come again. */
  mostWaiting: number;
  /**
   * If a turn takes long, as on a busy machine, this many are begun for each millisecond of it. Otherwise requests
   * would come faster than they are begun, and wait for seconds.
   */
  beginsInAMs: number;
  beginsOfEachInAMs: number;
  /**
   * Per asker: this many in a second, and this many more at once. An asker that goes beyond this, without a moment in
   * which none of its requests is under way, is served one at a time, with a pause four times as long as the previous
   * request took; otherwise server and database would do little else. Applies only while somebody else asks, too.
   */
  atWill?: { perS: number; burst: number };
  /**
   * While any request of these is being worked on, only `beginsInAMs` are begun for each millisecond, and the rest when
   * that ends.
   */
  giveWayTo?: FairTurns;
}

interface Request {
  begin(): void;
  by: string;
  begunAtMs: number;
  state: 'waiting' | 'under way' | 'over';
  keepsBack: boolean;
}

interface Line {
  whose: string;
  waiting: WaitingRequests;
  underWay: number;
  /** How many were begun recently, minus what its `atWill` rate permits. */
  recent: number;
  recentAtMs: number;
  isPausing: boolean;
}

export class FairTurns {
  readonly #limits: TurnLimits;
  /** By asker, in the order of their turns. */
  readonly #lines = new Map<string, Line>();
  readonly #now: () => number;
  /** Whose request was begun last, and when; then the last one of somebody else. */
  #newest = { whose: '', atMs: Number.NEGATIVE_INFINITY };
  #newestOfOthers = this.#newest;
  #begun = 0;
  /** How long it took to begin these. */
  #beginMs = 0;
  /** When the first one was begun in this turn. */
  #begunAtMs = 0;
  #lastTurnMs = 0;
  /** How many requests hold back those that give way. */
  #keepingBack = 0;
  /** Called when none does any more. */
  #whenFree: (() => void) | undefined;
  /** When a request was last begun. */
  #begunLastAtMs = Number.NEGATIVE_INFINITY;
  #wake: NodeJS.Timeout | undefined;

  constructor(limits: TurnLimits, now = () => performance.now()) {
    this.#limits = limits;
    this.#now = now;
    if (limits.giveWayTo !== undefined) limits.giveWayTo.#whenFree = () => this.#beginSome();
  }

  /**
   * Begins a request when its turn has come. Returns a function to be called when the request ends, or when nobody
   * waits for it any more; `undefined` if too many of the same asker wait already.
   *
   * @param by the way by which it came, if the asker has several: they take turns.
   */
  take(whose: string, begin: () => void, by = ''): (() => void) | undefined {
    const line = this.#lines.get(whose) ?? newLine(whose);
    if (!line.waiting.hasRoom(by, this.#limits.mostWaiting)) return undefined;
    this.#lines.set(whose, line);
    const request: Request = { begin, by, begunAtMs: 0, state: 'waiting', keepsBack: false };
    line.waiting.add(request);
    const end = () => {
      this.#end(line, request);
      this.#keepBackNoMore(request);
    };
    this.#beginSome();
    return end;
  }

  #beginSome(): void {
    const { beginsInAMs, beginsOfEachInAMs } = this.#limits;
    const most = Math.min(
      Math.max(beginsInATurn, Math.min(this.#lastTurnMs * beginsInAMs, mostBeginsInATurn)),
      this.#mostBesideThoseBefore(),
    );
    const { mostUnderWay, mostBesideOthers = mostUnderWay } = this.#limits;
    const more = Math.min(this.#lastTurnMs * beginsOfEachInAMs, mostBeginsInATurn);
    for (const [whose, line] of this.#lines) {
      if (this.#begun >= (this.#beginMs < beginMsInATurn ? most : Math.min(most, fewBeginsInATurn))) return;
      const isFree = this.#isBeyond(line)
        ? line.underWay === 0 && !line.isPausing
        : line.underWay < more + (this.#isOneOfMany(line.whose) ? mostBesideOthers : mostUnderWay);
      const next = isFree ? line.waiting.take() : undefined;
      const isIdle = line.waiting.size === 0 && line.underWay === 0 && !line.isPausing;
      if (next !== undefined || isIdle) this.#lines.delete(whose);
      if (next === undefined) continue;
      // Moves to the end of the round.
      this.#lines.set(whose, line);
      this.#begin(line, next);
    }
  }

  /** How many may be begun in this turn beside the requests that go first. */
  #mostBesideThoseBefore(): number {
    const { beginsInAMs, giveWayTo } = this.#limits;
    if (giveWayTo === undefined || giveWayTo.#keepingBack === 0) return Number.POSITIVE_INFINITY;
    if (this.#lines.size > 0) this.#wakeIn(1 / beginsInAMs);
    return this.#begun + Math.floor((this.#now() - this.#begunLastAtMs) * beginsInAMs);
  }

  #wakeIn(ms: number): void {
    this.#wake ??= setTimeout(() => {
      this.#wake = undefined;
      this.#beginSome();
    }, ms).unref();
  }

  #begin(line: Line, request: Request): void {
    const nowMs = this.#now();
    this.#begunLastAtMs = nowMs;
    if (this.#begun === 0) {
      this.#begunAtMs = nowMs;
      setImmediate(this.#nextTurn);
    }
    this.#begun += 1;
    line.underWay += 1;
    this.#keepingBack += 1;
    request.keepsBack = true;
    request.state = 'under way';
    request.begunAtMs = nowMs;
    this.#count(line, nowMs);
    setTimeout(() => {
      this.#end(line, request);
      if (request.keepsBack)
        setTimeout(() => this.#keepBackNoMore(request), keepsBackMs - underWayMs).unref();
    }, underWayMs).unref();
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
    if (this.#isBeyond(line) && !line.isPausing) this.#pause(line, this.#now() - request.begunAtMs);
    this.#beginSome();
  }

  #keepBackNoMore(request: Request): void {
    if (!request.keepsBack) return;
    request.keepsBack = false;
    this.#keepingBack -= 1;
    if (this.#keepingBack === 0) this.#whenFree?.();
  }

  #isBeyond(line: Line): boolean {
    const { atWill } = this.#limits;
    return (
      atWill !== undefined && this.#recent(line, atWill.perS) > atWill.burst && this.#isOneOfMany(line.whose)
    );
  }

  #isOneOfMany(whose: string): boolean {
    const { atMs } = this.#newest.whose === whose ? this.#newestOfOthers : this.#newest;
    return this.#now() - atMs < othersMs;
  }

  #recent({ recent, recentAtMs }: Line, perS: number): number {
    return Math.max(0, recent - ((this.#now() - recentAtMs) * perS) / 1_000);
  }

  #count(line: Line, nowMs: number): void {
    if (this.#newest.whose !== line.whose) this.#newestOfOthers = this.#newest;
    this.#newest = { whose: line.whose, atMs: nowMs };
    const { atWill } = this.#limits;
    if (atWill === undefined) return;
    line.recent = Math.min(this.#recent(line, atWill.perS) + 1, atWill.burst + rememberedBeyond);
    line.recentAtMs = nowMs;
  }

  #pause(line: Line, ms: number): void {
    line.isPausing = true;
    setTimeout(() => {
      line.isPausing = false;
      this.#beginSome();
    }, pausesPerWork * Math.min(ms, underWayMs)).unref();
  }
}

/** The waiting requests of one asker, in order; if they came by several ways, these take turns. */
class WaitingRequests {
  readonly #byWay = new Map<string, Set<Request>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /**
   * Below `most` there is room for any. Beyond it, a way has room while it has less than its share of `most`, and all
   * ways together hold at most twice `most`.
   */
  hasRoom(by: string, most: number): boolean {
    if (this.#size < most) return true;
    if (this.#size >= 2 * most) return false;
    const ways = this.#byWay.size + (this.#byWay.has(by) ? 0 : 1);
    return (this.#byWay.get(by)?.size ?? 0) < Math.floor(most / ways);
  }

  add(request: Request): void {
    const way = this.#byWay.get(request.by) ?? new Set();
    this.#byWay.set(request.by, way.add(request));
    this.#size += 1;
  }

  delete(request: Request): void {
    const way = this.#byWay.get(request.by);
    if (way?.delete(request) !== true) return;
    this.#size -= 1;
    if (way.size === 0) this.#byWay.delete(request.by);
  }

  /** Returns the next request and removes it. Its way then moves to the end. */
  take(): Request | undefined {
    const [way] = this.#byWay.values();
    const [next] = way ?? [];
    if (way === undefined || next === undefined) return undefined;
    this.delete(next);
    if (this.#byWay.delete(next.by)) this.#byWay.set(next.by, way);
    return next;
  }
}

function newLine(whose: string): Line {
  return { whose, waiting: new WaitingRequests(), underWay: 0, recent: 0, recentAtMs: 0, isPausing: false };
}
