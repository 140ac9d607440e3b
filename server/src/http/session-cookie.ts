// The session cookie. Cookies don't distinguish ports, so its name includes the installation: two servers on one host
// must not sign out each other's users.
import type { Context } from 'hono';
import { setCookie } from 'hono/cookie';

export interface SessionCookie {
  name: string;
  secure: boolean;
}

/** With https, the `__Host-` prefix makes browsers refuse a cookie that a sibling domain or plain http set. */
export function sessionCookie(options: { installationId: string; https: boolean }): SessionCookie {
  const name = `opsc_session_${options.installationId.replaceAll('-', '').slice(0, 12)}`;
  return { name: options.https ? `__Host-${name}` : name, secure: options.https };
}

/** Sets a cookie without an expiry, which lasts as long as the browser session; the server enforces the limits. */
export function setSessionCookie(context: Context, cookie: SessionCookie, token: string): void {
  setCookie(context, cookie.name, token, attributes(cookie));
}

export function clearSessionCookie(context: Context, cookie: SessionCookie): void {
  setCookie(context, cookie.name, '', { ...attributes(cookie), maxAge: 0 });
}

function attributes(cookie: SessionCookie) {
  return { path: '/', httpOnly: true, sameSite: 'Strict', secure: cookie.secure } as const;
}
