// Of a host's addresses the first that answers. A name often has addresses of both families where only one of them is
// reachable, and the other swallows what is sent: who waited for each in turn would wait its whole time-out.

/** For how long an address is waited for alone before the next one is tried beside it (RFC 8305, section 5). */
const usualHeadStartMs = 250;

export interface DialEach<Connection> {
  /** In the order to try. */
  addresses: readonly string[];
  /** Connects, or rejects; the signal says that it is no longer wanted. */
  connect(address: string, signal: AbortSignal): Promise<Connection>;
  /** Closes a connection that came too late. */
  discard(connection: Connection): void;
  /** Ends it all. */
  signal: AbortSignal | undefined;
  headStartMs?: number;
}

/**
 * Tries the addresses in their order, the next one as soon as one before has failed or has not answered for a moment.
 * Rejects with the signal's reason, or with what the last address has rejected with, once all have.
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
