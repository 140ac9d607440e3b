import type { DetectedKind } from '@opsconductor/protocol';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PatternSet } from '../masking/pattern-set.ts';
import { mask, Redactor } from '../masking/redactor.ts';
import { countedReads } from '../testing/counted-reads.ts';
import { maxTokenBytes } from './form.ts';
import { maxPrivateKeyBytes } from './private-key.ts';
import { secretDetector } from './secret-detector.ts';
import { unnamedSecrets } from './testing.ts';

const all = unnamedSecrets();

function redact(pieces: readonly Buffer[], patterns = new PatternSet([])) {
  const kinds: DetectedKind[] = [];
  const detecting = { detector: secretDetector, onDetected: (kind: DetectedKind) => kinds.push(kind) };
  const redactor = new Redactor(patterns, { detecting });
  const shown = Buffer.concat([...pieces.map((piece) => redactor.push(piece)), redactor.end()]);
  return { shown: shown.toString('latin1'), kinds };
}

const redactText = (text: string) => redact([Buffer.from(text, 'latin1')]);
const letters = (length: number) => 'aB3dE5gH1jK2mN4pQ6sT8vW9yZ0c'.repeat(3_000).slice(0, length);
const key = (body: string) => `-----BEGIN ${'PRIVATE KEY'}-----\n${body}\n-----END ${'PRIVATE KEY'}-----`;

test.each(all.map((one) => [one.kind, one.shape, one] as const))(
  '%s, %s: only the secret is masked, wherever the stream is cut',
  (kind, _, { printed, secret }) => {
    const whole = Buffer.from(printed);
    const expected = { shown: printed.replace(secret, mask.toString()), kinds: [kind] };
    expect(redact([whole])).toEqual(expected);
    for (let at = 0; at <= whole.length; at++)
      expect(redact([whole.subarray(0, at), whole.subarray(at)])).toEqual(expected);
    expect(redact(Array.from(whole, (byte) => Buffer.of(byte)))).toEqual(expected);
  },
);

test.each([
  ['a certificate', `-----BEGIN CERTIFICATE-----\n${letters(64)}\n-----END CERTIFICATE-----`],
  ['a public key', `-----BEGIN ${'PUBLIC KEY'}-----\n${letters(64)}\n-----END PUBLIC KEY-----`],
  ['a private key whose content was left out', key('(not shown)')],
  ['code that looks for keys', `if (line === "-----BEGIN ${'PRIVATE KEY'}-----") return parse(line);\n`],
  ['a word that begins like a key id', 'ASIAPACIFIC and AKIABCDEFGHIJKLMNOPQRS'],
  ['a key id with digits that it can not have', 'AKIAIOSFODNN1EXAMPL0'],
  ['a short token', `ghp_${letters(35)} npm_${letters(35)} AIza${letters(34)} glpat-${letters(19)}`],
  ['a long token', `npm_${letters(37)} AIza${letters(36)} oct_${letters(44)} ghp_${letters(256)}`],
  ['a name', 'weighs_as_much_as_a_function_whose_name_is_long, github_pat_support_for_fine_grained_tokens'],
  ['another name', 'task_live_migrationhascompleted1 run_npm_install_before_everything_else_is_built'],
  ['words with hyphens', 'foxoxb-an-example-of-a-text-with-hyphens'],
  ['JSON in base64', `eyJ${letters(40)} eyJ${letters(40)}.${letters(40)}.${letters(43)}`],
  ['a JWT without its signature', `eyJ${letters(40)}.eyJ${letters(40)}. eyJ${letters(40)}.eyJ${letters(40)}`],
  ['talk of headers', 'Authorization: Bearer authentication required; authorization bearer a0b1c2d3e4'],
  [
    'a scheme alone',
    'Authorization: Basic\nAuthorization: Basic user-authentication\nAuthorization: Bearer $TOKEN',
  ],
  ['URLs', 'https://host:8443/a@b http://user@host:80/ ssh://[::1]:22 http://a/?u=b:c@d file:///x:y@z'],
  ['a URL whose password is masked', 'https://user:****@host https://user:xxxxx@host https://user:@host'],
  ['an image', 'docker-image://alpine:3.19@sha256:0123456789abcdef'],
  ['other prefixes', `oct_${letters(20)} octopus_oct_ oce_${letters(42)}`],
])('%s is shown as it is', (_, text) => {
  expect(redactText(text)).toEqual({ shown: text, kinds: [] });
});

test('a key without an end is masked as far as it goes on, up to the limit', () => {
  const begin = `-----BEGIN ${'PRIVATE KEY'}-----\n`;
  const log = 'the next line of the log\n'.repeat(20);
  expect(redactText(`${begin}${letters(64)}\n${log}`)).toEqual({
    shown: `${mask}\n${log}`,
    kinds: ['private_key'],
  });
  expect(redactText(`${begin}${letters(64)}\n${begin}${log}`).shown).toBe(`${mask}\n${begin}${log}`);
  const endless = begin + letters(maxPrivateKeyBytes);
  expect(redactText(endless).shown).toBe(mask + endless.slice(maxPrivateKeyBytes));
});

test('a token longer than the limit is shown, and no more than the limit is held back for it', () => {
  const redactor = new Redactor(new PatternSet([]), {
    detecting: { detector: secretDetector, onDetected: () => undefined },
  });
  const text = `Authorization: Bearer ${letters(maxTokenBytes + 1)}`;
  let shown = '';
  for (let at = 0; at < text.length; at += 1_000) {
    shown += redactor.push(Buffer.from(text.slice(at, at + 1_000))).toString();
    expect(redactor.heldBytes).toBeLessThanOrEqual(maxTokenBytes + 64);
  }
  expect(shown + redactor.end().toString()).toBe(text);
});

const maxHeldBytes = maxPrivateKeyBytes + 64;
/** What forms begin with, and what continues or ends one. */
const fragments = [
  ...[`-----BEGIN ${'PRIVATE KEY'}-----`, '-----BEGIN ', `-----END ${'PRIVATE KEY'}-----`, '-----', 'AKIA'],
  ...['authorization=bearer ', 'authorization: basic ', 'authorization=bearer=', 'ghp_', 'glpat-', 'xoxb-'],
  ...[
    '://',
    '://a:b@',
    'a:',
    '@',
    'eyJh',
    '.eyJh',
    '.',
    ' ',
    '\n',
    '-',
    letters(20),
    letters(40),
    letters(100),
  ],
];
const chain = [`-----BEGIN ${'PRIVATE KEY'}-----`, 'authorization=bearer ', 'A'.repeat(40)];

test('no sequence of forms and parts of them holds back more than the limit', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...fragments), { minLength: 1, maxLength: 8 }), (texts) => {
      const unit = texts.join('');
      const whole = Buffer.from(unit.repeat(Math.ceil((maxHeldBytes + 20_000) / unit.length)));
      const redactor = new Redactor(new PatternSet([]), {
        detecting: { detector: secretDetector, onDetected: () => undefined },
      });
      for (let at = 0; at < whole.length; at += 9_973) {
        redactor.push(whole.subarray(at, at + 9_973));
        expect(redactor.heldBytes).toBeLessThanOrEqual(maxHeldBytes);
      }
    }),
    {
      numRuns: 60,
      examples: [[chain], [['-----BEGIN ', 'x']], [['authorization=bearer ', letters(40), '-']]],
    },
  );
});

test('findings overlap only if one is inside another', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...fragments), { maxLength: 12 }), (texts) => {
      const { found } = secretDetector.find(Buffer.from(texts.join('')), true);
      const spans = [...found].sort((a, b) => a.from - b.from || b.end - a.end);
      for (const [at, { end }] of spans.entries())
        for (const later of spans.slice(at + 1)) expect(later.from >= end || later.end <= end).toBe(true);
    }),
    { numRuns: 1_000, examples: [[[...chain, ...chain]]] },
  );
});

test.each([
  ...['authorization=bearer=', 'authorization=bearer a', 'xoxb-', 'glpat-', 'github_pat_', 'ghp_'],
  ...['eyJhaaaaaaa.', '://', '://a:b@', `-----BEGIN ${'PRIVATE KEY'}-----`],
])('no byte of an endless %s is read more than a hundred times', (unit) => {
  const data = Buffer.from(unit.repeat(8_000 / unit.length));
  const counted = countedReads(data);
  secretDetector.find(counted.data, true);
  expect(counted.reads() / data.length).toBeLessThan(100);
});

test('a token that is the user of a URL is masked as well as the password', () => {
  const url = `https://ghp_${letters(36)}:x-oauth-basic@host/`;
  expect(redactText(url)).toEqual({
    shown: `https://${mask}:${mask}@host/`,
    kinds: ['github_token', 'url_password'],
  });
});

test('a secret inside another counts once, and a named one not at all', () => {
  const [jwt] = all.filter(({ kind }) => kind === 'jwt');
  const header = `Authorization: Bearer ${jwt?.secret}\n`;
  expect(redactText(header)).toEqual({
    shown: `Authorization: Bearer ${mask}\n`,
    kinds: ['authorization_header'],
  });
  const named = new PatternSet([Buffer.from(jwt?.secret ?? '')]);
  expect(redact([Buffer.from(header)], named)).toEqual({
    shown: `Authorization: Bearer ${mask}\n`,
    kinds: [],
  });
});

test('a stream of secrets, parts of secrets and named secrets is masked the same however it is cut', () => {
  const texts = [
    ...fragments,
    ...all.flatMap(({ printed, secret }) => [printed, secret, secret.slice(0, 9), secret.slice(-30)]),
    ...[
      '-----BEGIN ',
      '-----END ',
      'eyJh',
      '://',
      'a:b@',
      'authorization',
      ': bearer ',
      '\n',
      'named',
      'nam',
    ],
  ];
  // Some begin inside a form and end after it.
  const beyond = all
    .filter(({ shape }) => shape.startsWith('gh'))
    .map(({ secret }) => `${secret.slice(-5)}\nexp`);
  const named = ['named', 'edeyJh', '://a:b', ...beyond].map((text) => Buffer.from(text));
  const patterns = new PatternSet(named);
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...texts), { maxLength: 8 }),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 }),
      (parts, cuts) => {
        const whole = Buffer.from(parts.join(''));
        const at = [
          0,
          ...cuts.map((cut) => Math.floor(cut * whole.length)).sort((a, b) => a - b),
          whole.length,
        ];
        const pieces = at.slice(1).map((end, n) => whole.subarray(at[n], end));
        expect(redact(pieces, patterns)).toEqual(redact([whole], patterns));
      },
    ),
    { numRuns: 500 },
  );
});
