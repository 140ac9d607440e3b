// What a request identifies its caller by: a bearer token or a session cookie.
import type { IncomingMessage } from 'node:http';
import { parse } from 'hono/utils/cookie';
import type { Principal } from '../auth/principal.ts';

export interface PresentedToken {
  via: Principal['via'];
  token: string;
}

/**
 * Returns the bearer token, if there is one, whatever cookie comes with it; otherwise the session token of the cookie.
 * Returns undefined for a token that can't be one of ours.
 */
export function presentedToken(
  { authorization, cookie }: Pick<IncomingMessage['headers'], 'authorization' | 'cookie'>,
  cookieName: string,
): PresentedToken | undefined {
  if (authorization !== undefined) {
    const token = /^Bearer +([\w.~+/=-]{16,512})$/i.exec(authorization)?.[1];
    return token === undefined ? undefined : { via: 'api_token', token };
  }
  const token = cookie === undefined ? undefined : parse(cookie, cookieName)[cookieName];
  return token === undefined || token.length > 512 ? undefined : { via: 'session', token };
}
