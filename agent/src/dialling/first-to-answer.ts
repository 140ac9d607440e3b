// Connects to the first of a host's addresses that answers. A name often has addresses of both families of which only
// one is reachable; trying them strictly in turn would wait the whole time-out of the other.

/** How long one address is tried alone before the next one is tried as well, in ms (RFC 8305, section 5). */
const usualHeadStartMs = 250;

export interface DialEach<Connection> {
  /** In the order to try. */
  addresses: readonly string[];
  /** Connects or rejects. The signal aborts if the connection is no longer wanted. */
  connect(address: string, signal: AbortSignal): Promise<Connection>;
  /** Closes a connection that came too late. */
  discard(connection: Connection): void;
  /** Aborts everything. */
  signal: AbortSignal | undefined;
  headStartMs?: number;
}

/**
 * Tries the addresses in order, the next one as soon as an earlier one has failed or the last one has not answered for
 * a moment. Rejects with the signal's reason, or, once all addresses have failed, with the error of the last one in the
 * list.
 */
export function firstToAnswer<Connection>(dialling: DialEach<Connection>): Promise<Connection> {
  const { addresses, signal, headStartMs = usualHeadStartMs } = dialling;
  const decided = new AbortController();
  const unwanted = signal === undefined ? decided.signal : AbortSignal.any([signal, decided.signal]);
  return new Promise((resolve, reject) => {
    const failures = new Map<number, unknown>();
    let tried = 0;
    let timer: NodeJS.Timeout | undefined;
    const settle = (result: () => void) => {
      clearTimeout(timer);
      decided.abort();
      result();
    };
    const won = (connection: Connection) => {
      if (unwanted.aborted) dialling.discard(connection);
      else settle(() => resolve(connection));
    };
    const lost = (at: number, error: unknown) => {
      failures.set(at, error);
      if (decided.signal.aborted) return;
      if (tried < addresses.length) tryNext();
      else if (failures.size === tried) settle(() => reject(failures.get(tried - 1)));
    };
    const tryNext = () => {
      clearTimeout(timer);
      const at = tried;
      const address = addresses[at];
      if (address === undefined) return;
      tried += 1;
      timer = setTimeout(tryNext, headStartMs);
      dialling.connect(address, unwanted).then(won, (error) => lost(at, error));
    };
    const stop = () => settle(() => reject(signal?.reason));
    if (signal?.aborted) return stop();
    signal?.addEventListener('abort', stop, { once: true, signal: decided.signal });
    if (addresses.length === 0) settle(() => reject(new Error('No address to dial')));
    else tryNext();
  });
}
