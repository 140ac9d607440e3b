// Which wishes to go on in another protocol are heard. Some HTTP clients (Java's, `curl --http2`) ask on each plain
// connection for HTTP/2 or TLS, in case the server can. HTTP lets it go on in HTTP then, but Node hands all such
// requests to whoever takes upgrades, so that none of them would reach the API.
import { IncomingMessage } from 'node:http';

/**
 * Returns the class of requests for a server of `node:http`. An upgrade is one to WebSocket that `isHeard`; others are
 * requests like any other, except that each must be the last one on its connection (`isUnheard`).
 */
export function requestClass(isHeard: (request: IncomingMessage) => boolean): typeof IncomingMessage {
  return class extends AskedRequest {
    protected override isHeard(): boolean {
      return isHeard(this);
    }
  };
}

/**
 * Whether a request asks to go on in another protocol in vain. Whatever was read together with it is lost: if the rest
 * of that was then taken for a request, it could be one that nobody has sent.
 */
export function isUnheard(request: IncomingMessage): boolean {
  return request instanceof AskedRequest && request.isUnheard;
}

abstract class AskedRequest extends IncomingMessage {
  // Without initializers, because the constructor above already sets `upgrade`.
  declare private asksToUpgrade: boolean | null;
  declare private answer: boolean | undefined;

  protected abstract isHeard(): boolean;

  /** Node asks once the headers are there, and again as long as this is the last request of its connection. */
  get upgrade(): boolean | null {
    if (this.asksToUpgrade !== true || this.method === 'CONNECT') return this.asksToUpgrade;
    this.answer ??= this.headers.upgrade?.toLowerCase() === 'websocket' && this.isHeard();
    return this.answer;
  }

  set upgrade(asked: boolean | null) {
    this.asksToUpgrade = asked;
  }

  get isUnheard(): boolean {
    return this.asksToUpgrade === true && this.upgrade === false;
  }
}
