// Made-up secrets of well-known forms that nobody names. None belongs to anybody, and none appears literally in this
// file.
import { generateKeyPairSync } from 'node:crypto';
import type { DetectedKind } from '@opsconductor/protocol';

export interface UnnamedSecret {
  kind: DetectedKind;
  shape: string;
  /** The secret as it is printed, with other text around it. */
  printed: string;
  /** The part that must not be visible. */
  secret: string;
}

const letters = (length: number) => 'aB3dE5gH1jK2mN4pQ6sT8vW9yZ0c'.repeat(20).slice(0, length);
const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

export function unnamedSecrets(): UnnamedSecret[] {
  const one = (kind: DetectedKind, shape: string, secret: string, around: (s: string) => string) => ({
    kind,
    shape,
    secret,
    printed: around(secret),
  });
  const env = (s: string) => `export TOKEN=${s}\n`;
  const jwt = [
    base64url({ alg: 'HS256', typ: 'JWT' }),
    base64url({ sub: '1234567890', admin: true }),
    letters(43),
  ].join('.');
  const userAndPassword = Buffer.from(`deploy:${letters(12)}`).toString('base64');
  return [
    ...['AKIA', 'ASIA'].map((p) => one('aws_access_key_id', p, `${p}IOSFODNN7EXAMPLE`, env)),
    ...['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'].map((p) => one('github_token', p, p + letters(36), env)),
    one('github_token', 'fine-grained', `github_pat_${letters(22)}_${letters(59)}`, env),
    one('gitlab_token', 'personal', `glpat-${letters(20)}`, (s) => `{"token":"${s}"}`),
    ...['a', 'b', 'p', 'r', 's'].map((p) =>
      one('slack_token', p, `xox${p}-1234567890-${letters(24)}`, (s) => `"a line\\n${s}\\n"`),
    ),
    one('stripe_key', 'secret', `sk_live_${letters(24)}`, env),
    one('stripe_key', 'restricted', `rk_live_${letters(24)}`, env),
    one('google_api_key', 'key', `AIza${letters(35)}`, (s) => `?key=${s}&v=1\n`),
    one('npm_token', 'token', `npm_${letters(36)}`, (s) => `//registry/:_authToken=${s}\n`),
    one('jwt', 'signed', jwt, (s) => `id_token: ${s}\n`),
    one('authorization_header', 'Bearer', letters(32), (s) => `> Authorization: Bearer ${s}\r\n`),
    one('authorization_header', 'small letters', letters(32), (s) => `authorization: bearer ${s}\n`),
    one('authorization_header', 'JSON', letters(32), (s) => `{"AUTHORIZATION": "Bearer ${s}"}`),
    one('authorization_header', 'Go', letters(32), (s) => `map[Authorization:[token ${s}]]`),
    one('authorization_header', 'Basic', userAndPassword, (s) => `Authorization: Basic ${s}\n`),
    one('url_password', 'user and password', letters(9), (s) => `postgres://app:${s}@db1:5432/app\n`),
    one('url_password', 'password alone', 'hunter2', (s) => `redis://:${s}@cache/0 is up`),
    one('url_password', 'with an at sign', 'p@ss:w0rd', (s) => `amqp://app:${s}@mq/`),
    one('opsconductor_token', 'API', `oct_${letters(43)}`, env),
    one('opsconductor_token', 'enrollment', `oce_${letters(43)}`, (s) => `${s}.${letters(43)}\n`),
    ...privateKeys(),
  ];
}

function privateKeys(): UnnamedSecret[] {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString().trimEnd();
  const openSsh = [
    `-----BEGIN OPENSSH ${'PRIVATE KEY'}-----`,
    ...[letters(70), letters(140).slice(70), `${letters(23)}=`],
    `-----END OPENSSH ${'PRIVATE KEY'}-----`,
  ].join('\n');
  const encrypted = [
    `-----BEGIN RSA ${'PRIVATE KEY'}-----`,
    ...['Proc-Type: 4,ENCRYPTED', 'DEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF', ''],
    ...[letters(64), letters(120).slice(56)],
    `-----END RSA ${'PRIVATE KEY'}-----`,
  ].join('\n');
  const shapes: [string, string][] = [
    ['PEM', pem],
    ['OpenSSH', openSsh],
    ['encrypted', encrypted],
    ['CRLF', pem.replaceAll('\n', '\r\n')],
    ['indented', pem.replaceAll('\n', '\n    ')],
    ['with prefixes', pem.replaceAll('\n', '\nweb_1  | ')],
    ['JSON', JSON.stringify({ key: openSsh })],
    ['one line', pem.replaceAll('\n', ' ')],
  ];
  return shapes.map(([shape, text]) => {
    const [begin, end] = [text.indexOf('-----BEGIN'), text.lastIndexOf('-----') + 5];
    const printed = `before ${text} after`;
    return { kind: 'private_key', shape, printed, secret: text.slice(begin, end) };
  });
}
