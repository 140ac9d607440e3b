// Access to the key exchanges of ssh2's clients, of which it says nothing to its users.
import type { Client } from 'ssh2';

/** The parts of ssh2's key exchange that are used here. */
export interface KeyExchange {
  negotiated: { kex: string; serverHostKey: string };
  _hostKey: Buffer | undefined;
  _remoteKexinit: Buffer | undefined;
  parse(payload: Buffer): unknown;
  finish(...given: unknown[]): unknown;
  getPublicKey(): Buffer;
}

/**
 * Calls `onBegin` when algorithms have been negotiated and nothing else was exchanged, in the first key exchange and in
 * later ones. Call it right after the client's `connect`, once.
 */
export function watchKeyExchanges(client: Client, onBegin: (exchange: KeyExchange) => void): void {
  const protocol = (client as unknown as { _protocol: { _kex: KeyExchange | undefined } })._protocol;
  let current = protocol._kex;
  Object.defineProperty(protocol, '_kex', {
    configurable: true,
    get: () => current,
    set: (exchange: KeyExchange | undefined) => {
      current = exchange;
      if (exchange !== undefined) onBegin(exchange);
    },
  });
}
