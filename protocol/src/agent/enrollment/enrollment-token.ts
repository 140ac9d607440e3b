// The enrollment token as people see it: `oce_<secret>.<segment root>.<CA pin>`, base64url without padding. Only the
// first part is secret; the other two tell a new agent whom it may trust before it sends anything.

export interface EnrollmentToken {
  /** 32 random bytes as base64url; the server keeps only its SHA-256. */
  secret: string;
  /** SHA-256 of the segment root's Ed25519 public key, lowercase hex. */
  rootSha256: string;
  /**
   * `sha256:` plus the hex of the SHA-256 of the CA's SubjectPublicKeyInfo; `undefined` if the server speaks plain HTTP
   * on loopback.
   */
  caPin?: string;
}

const part = /^[A-Za-z0-9_-]{43}$/;

/**
 * Returns the token as an operator hands it over: `oce_<secret>.<root>[.<CA pin>]`, with its hashes in base64url (RFC
 * 4648, section 5).
 */
export function formatEnrollmentToken(token: EnrollmentToken): string {
  const pin = token.caPin === undefined ? '' : `.${hexToBase64url(token.caPin.slice('sha256:'.length))}`;
  return `oce_${token.secret}.${hexToBase64url(token.rootSha256)}${pin}`;
}

/** Parses a token; returns `undefined` for anything else. */
export function parseEnrollmentToken(text: string): EnrollmentToken | undefined {
  const trimmed = text.trim();
  if (!trimmed.startsWith('oce_')) return undefined;
  const [secret, root, pin, ...rest] = trimmed.slice(4).split('.');
  if (secret === undefined || root === undefined || rest.length > 0) return undefined;
  if (!part.test(secret) || !part.test(root) || (pin !== undefined && !part.test(pin))) return undefined;
  const token: EnrollmentToken = { secret, rootSha256: base64urlToHex(root) };
  if (pin !== undefined) token.caPin = `sha256:${base64urlToHex(pin)}`;
  return token;
}

function hexToBase64url(hex: string): string {
  const bytes = (hex.match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}

function base64urlToHex(text: string): string {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Array.from(binary, (c) => c.charCodeAt(0).toString(16).padStart(2, '0')).join('');
}
