// Tokens of well-known forms, as their issuers publish them: a prefix and the length of what follows.
import type { DetectedKind } from '@opsconductor/protocol';
import { type ByteClass, byteClass, hasAny, runEnd } from './byte-class.ts';
import { type Anchor, type Form, type Look, maxTokenBytes } from './form.ts';

const digits = byteClass('0-9');
const alphanumeric = byteClass('A-Za-z0-9');
const word = byteClass('A-Za-z0-9_');
/** The base64url alphabet. */
const urlSafe = byteClass('A-Za-z0-9_-');

interface PrefixedToken {
  kind: DetectedKind;
  anchors: readonly Anchor[];
  /** The bytes of the token after its prefix. The token is the whole run of them: a longer run is something else. */
  of: ByteClass;
  least: number;
  most: number;
  hasDigit?: boolean;
  /** The only bytes that a token consists of, if the run in `of` is wider: a run with any others is not a token. */
  only?: ByteClass;
}

const prefixes = (...texts: string[]): Anchor[] => texts.map((text) => ({ text, windowAt: 0 }));

const prefixedTokens: readonly PrefixedToken[] = [
  {
    kind: 'aws_access_key_id',
    anchors: prefixes('AKIA', 'ASIA'),
    of: alphanumeric,
    only: byteClass('A-Z2-7'),
    least: 16,
    most: 16,
  },
  {
    kind: 'github_token',
    anchors: prefixes('ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'),
    of: alphanumeric,
    least: 36,
    most: 255,
  },
  {
    kind: 'github_token',
    anchors: [{ text: 'github_pat_', windowAt: 7 }],
    of: word,
    least: 82,
    most: 255,
  },
  {
    kind: 'gitlab_token',
    anchors: [{ text: 'glpat-', windowAt: 2 }],
    of: urlSafe,
    least: 20,
    most: 300,
  },
  {
    kind: 'slack_token',
    anchors: prefixes('xoxa-', 'xoxb-', 'xoxp-', 'xoxr-', 'xoxs-'),
    of: byteClass('A-Za-z0-9-'),
    least: 20,
    most: 255,
    hasDigit: true,
  },
  {
    kind: 'stripe_key',
    anchors: prefixes('sk_live_', 'rk_live_'),
    of: alphanumeric,
    least: 24,
    most: 255,
    hasDigit: true,
  },
  { kind: 'google_api_key', anchors: prefixes('AIza'), of: urlSafe, least: 35, most: 35 },
  { kind: 'npm_token', anchors: prefixes('npm_'), of: alphanumeric, least: 36, most: 36 },
  // API tokens, and the first part of enrollment tokens, which is the secret part.
  { kind: 'opsconductor_token', anchors: prefixes('oct_', 'oce_'), of: urlSafe, least: 43, most: 43 },
];

function prefixedForm({ kind, anchors, of, least, most, hasDigit, only = of }: PrefixedToken): Form {
  return {
    kind,
    anchors,
    look(data, from, after, isLast) {
      const end = runEnd(data, after, of, after + most + 1);
      const length = end - after;
      if (length > most) return { noneBefore: after };
      if (end === data.length && !isLast) return 'cut_off';
      if (length < least || runEnd(data, after, only, end) < end) return { noneBefore: after };
      if (hasDigit === true && !hasAny(data, after, end, digits)) return { noneBefore: after };
      return { start: from, end };
    },
  };
}

const dot = 0x2e;
const leastJwtPart = 10;
const leastJwtSignature = 20;
/** How a JSON object begins in base64url: `{"` and the first letter of its first name, in lower case. */
const jsonBegins = [...'hijklmnopqrstuvwxyz0123456'].map((letter) => `eyJ${letter}`);

/** `header.payload.signature`; the first two are JSON objects. */
const jwt: Form = {
  kind: 'jwt',
  anchors: jsonBegins.map((text) => ({ text, windowAt: 0 })),
  look(data, from, _after, isLast) {
    const to = from + maxTokenBytes;
    const isOpen = (end: number) => end === data.length && end < to && !isLast;
    const headerEnd = runEnd(data, from, urlSafe, to);
    if (isOpen(headerEnd)) return 'cut_off';
    // Nothing that begins inside this run is a JWT either, since its header would end where the run does. An overlong
    // run is not read again.
    if (data[headerEnd] !== dot || headerEnd - from < leastJwtPart) return { noneBefore: headerEnd };
    const payload = headerEnd + 1;
    const payloadEnd = runEnd(data, payload, urlSafe, to);
    if (isOpen(payloadEnd)) return 'cut_off';
    const isObject = data.toString('latin1', payload, payload + 3) === 'eyJ';
    if (!isObject || data[payloadEnd] !== dot || payloadEnd - payload < leastJwtPart)
      return { noneBefore: payload };
    const signature = payloadEnd + 1;
    const end = runEnd(data, signature, urlSafe, to);
    if (isOpen(end)) return 'cut_off';
    if (end === to || end - signature < leastJwtSignature) return { noneBefore: payload };
    return { start: from, end };
  },
};

const separators = byteClass(' \t"\'\\:=[,>');
const colonOrEquals = byteClass(':=');
const letters = byteClass('A-Za-z');
const lowerCase = byteClass('a-z');
const blanks = byteClass(' \t');
const headerToken = byteClass('A-Za-z0-9._~+/=-');
const maxSeparatorBytes = 16;
const leastHeaderToken = 8;

/**
 * The token in an authorization header as sent or as programs print it: `Authorization: Bearer …`,
 * `"authorization": "Basic …"`.
 */
const authorizationHeader: Form = {
  kind: 'authorization_header',
  anchors: [{ text: 'authorization', windowAt: 5, ignoresCase: true }],
  look(data, _from, after, isLast) {
    const none: Look = { noneBefore: after };
    const isOpen = (end: number) => end === data.length && !isLast;
    const scheme = runEnd(data, after, separators, after + maxSeparatorBytes);
    if (isOpen(scheme)) return 'cut_off';
    if (!hasAny(data, after, scheme, colonOrEquals)) return none;
    const schemeEnd = runEnd(data, scheme, letters, scheme + 7);
    if (isOpen(schemeEnd)) return 'cut_off';
    const called = data.toString('latin1', scheme, schemeEnd).toLowerCase();
    if (!['bearer', 'basic', 'token'].includes(called)) return none;
    const start = runEnd(data, schemeEnd, blanks, schemeEnd + maxSeparatorBytes);
    if (start === schemeEnd) return none;
    const end = runEnd(data, start, headerToken, start + maxTokenBytes + 1);
    if (end - start > maxTokenBytes) return none;
    if (isOpen(end)) return 'cut_off';
    if (end - start < leastHeaderToken) return none;
    // A sentence goes on with a word, and Basic credentials contain a user name.
    if (runEnd(data, start, lowerCase, end) === end) return none;
    if (called === 'basic' && !isUserAndPassword(data.toString('latin1', start, end))) return none;
    return { start, end };
  },
};

function isUserAndPassword(base64: string): boolean {
  const decoded = Buffer.from(base64, 'base64');
  return (
    decoded.includes(0x3a) && decoded.toString('base64').replace(/=+$/, '') === base64.replace(/=+$/, '')
  );
}

const [at, colon] = [0x40, 0x3a];
/** What may precede the host of a URL; a `/` would end it. */
const userInfo = byteClass('!$%&()*+,-.0-9:;=@A-Z[]_a-z~');
userInfo.fill(1, 0x80);
const maxUserInfoBytes = 1_024;

/** The password in `scheme://user:password@host`. */
const urlPassword: Form = {
  kind: 'url_password',
  anchors: [{ text: '://', windowAt: -1 }],
  look(data, _from, after, isLast) {
    const none: Look = { noneBefore: after };
    const authorityEnd = runEnd(data, after, userInfo, after + maxUserInfoBytes + 1);
    if (authorityEnd - after > maxUserInfoBytes) return { noneBefore: authorityEnd };
    if (authorityEnd === data.length && !isLast) return 'cut_off';
    const authority = data.subarray(after, authorityEnd);
    const end = authority.lastIndexOf(at);
    const userEnd = authority.indexOf(colon);
    if (userEnd === -1 || end <= userEnd + 1) return none;
    const password = authority.subarray(userEnd + 1, end);
    // Already masked by the program that printed it; or image:tag@sha256:digest.
    if (password.every((byte) => byte === password[0])) return none;
    if (authority.toString('latin1', end + 1, end + 8) === 'sha256:') return none;
    return { start: after + userEnd + 1, end: after + end };
  },
};

export const tokenForms: readonly Form[] = [
  ...prefixedTokens.map(prefixedForm),
  jwt,
  authorizationHeader,
  urlPassword,
];
