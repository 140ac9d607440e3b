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
/** Who asks for more than at will has a fifth of the time: what else is asked then seldom meets one of theirs. */
const pausesPerWork = 4;
/** For so long it keeps those back that give way. */
const keepsBackMs = 100;
/** Who has asked so short a time ago is somebody for whom others are slowed down. */
const othersMs = 1_000;
/** Of what was asked beyond it is remembered as much as is forgotten in a fifth of a second. */
const rememberedBeyond = 20;

export interface TurnLimits {
  /** Of each. */
  mostUnderWay: number;
  /** Of each while somebody else asks, too: two processors at six requests of one have little left for another's. As many unless told. */
  mostBesideOthers?: number;
  /** Of each: what is asked beyond this is to come again. */
  mostWaiting: number;
  /**
   * Where a turn takes long, as on a busy machine, so many are begun for each millisecond of it: they would come faster than they were begun
   * otherwise, and wait for seconds.
   */
  beginsInAMs: number;
  beginsOfEachInAMs: number;
  /**
   * Of each, so many in a second, and so many more at once. Who asks for more without a moment in which nothing of it is under way is worked
   * on one at a time, with a pause four times as long as the one before took: otherwise server and database would be at little else. Only where
   * somebody else asks, too.
   */
  atWill?: { perS: number; burst: number };
  /** While anything of these is worked on `beginsInAMs` are begun for each millisecond, and the others when that ends. */
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
  /** What was begun of late, less what it may have at will. */
  recent: number;
  recentAtMs: number;
  isPausing: boolean;
}

export class FairTurns {
  readonly #limits: TurnLimits;
  /** By whose they are, in the order in which these have their turn. */
  readonly #lines = new Map<string, Line>();
  readonly #now: () => number;
  /** Whose request was begun last, and when; and the last of somebody else. */
  #newest = { whose: '', atMs: Number.NEGATIVE_INFINITY };
  #newestOfOthers = this.#newest;
  #begun = 0;
  /** How long these took. */
  #beginMs = 0;
  /** When it was begun for the first time in this turn. */
  #begunAtMs = 0;
  #lastTurnMs = 0;
  /** So many keep those back that give way. */
  #keepingBack = 0;
  /** Called when none does any more. */
  #whenFree: (() => void) | undefined;
  /** When one was begun last. */
  #begunLastAtMs = Number.NEGATIVE_INFINITY;
  #wake: NodeJS.Timeout | undefined;

  constructor(limits: TurnLimits, now = () => performance.now()) {
    this.#limits = limits;
    this.#now = now;
    if (limits.giveWayTo !== undefined) limits.giveWayTo.#whenFree = () => this.#beginSome();
  }

  /**
   * Begins it when its turn has come; what is returned is to be called at its end, and where nobody waits for it any more. Undefined
   * where too many of the same wait already.
   *
   * @param by what it came by, of several ways of the same: these have their turns one after the other.
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
      // To the end of the round.
      this.#lines.set(whose, line);
      this.#begin(line, next);
    }
  }

  /** In this turn. */
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

/** Of one asker, in their order: what came by one way after what came by the other. */
class WaitingRequests {
  readonly #byWay = new Map<string, Set<Request>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Where many wait already, a way has room as long as it has less than its share of that, and all have no more than twice as much. */
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

  /** The next one, which waits no more; its way is the last one then. */
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
