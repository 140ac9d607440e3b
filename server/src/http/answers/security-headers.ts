// Headers of every answer. The console needs no inline scripts or styles, so none are allowed.
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "font-src 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'self'",
].join('; ');

const always: readonly (readonly [string, string])[] = [
  ['Content-Security-Policy', contentSecurityPolicy],
  ['X-Content-Type-Options', 'nosniff'],
  ['X-Frame-Options', 'DENY'],
  ['Referrer-Policy', 'no-referrer'],
  ['Cross-Origin-Opener-Policy', 'same-origin'],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
];

export function setSecurityHeaders(headers: Headers, options: { https: boolean; isApi: boolean }): void {
  for (const [name, value] of always) headers.set(name, value);
  if (options.https) headers.set('Strict-Transport-Security', 'max-age=31536000');
  if (options.isApi && !headers.has('Cache-Control')) headers.set('Cache-Control', 'no-store');
}
