// Secrets of 200 shapes, in every encoding of the list, cut at every place: the hunter finds none of them in what the
// redactor shows, and all of them in what was not redacted.
import { expect, test } from 'vitest';
import { unnamedSecrets } from '../detectors/testing.ts';
import { Masking } from './masking.ts';
import { PatternSet } from './pattern-set.ts';
import { Redactor } from './redactor.ts';
import { textPatterns } from './secret-patterns.ts';
import { canaries } from './testing/canaries.ts';
import { SecretHunter } from './testing/secret-hunter.ts';

const wrapped = (base64: string, width: number, end: string) =>
  base64.replace(new RegExp(`.{${width}}`, 'g'), `$&${end}`);
const json = (text: string) => JSON.stringify(text).slice(1, -1);
const escaped = (text: string, letters: RegExp) =>
  text.replace(letters, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
const xml = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const percents = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

const hex = (letter: string, length: number) =>
  (letter.codePointAt(0) ?? 0).toString(16).padStart(length, '0');
/** With backslashes before quotes and backslashes, the names of line ends and tabs, and codes. */
const slashed = (text: string, coded: RegExp, code: (letter: string) => string) =>
  Array.from(text, (letter) => {
    if (letter === "'" || letter === '\\') return `\\${letter}`;
    const name = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[letter];
    return name ?? (coded.test(letter) ? code(letter) : letter);
  }).join('');
const octal = (letter: string) =>
  Array.from(Buffer.from(letter), (byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
const bash = (text: string, coded: RegExp) =>
  slashed(text, coded, (letter) => (letter === '\u001b' ? '\\E' : octal(letter)));
const zsh = (text: string) =>
  slashed(text, /\p{Cc}/u, (c) => `\\C-${String.fromCharCode(c.charCodeAt(0) ^ 64)}`);
const python = (text: string, coded: RegExp) =>
  slashed(text, coded, (letter) => {
    const code = letter.codePointAt(0) ?? 0;
    if (code < 0x100) return `\\x${hex(letter, 2)}`;
    return code < 0x10000 ? `\\u${hex(letter, 4)}` : `\\U${hex(letter, 8)}`;
  });

/** How common tools write a secret among other text. */
const encodings: Record<string, (secret: string) => string | Buffer> = {
  'as it is': (s) => s,
  'line by line': (s) => s.split(/\r?\n/).join('\n  | '),
  hex: (s) => Buffer.from(s).toString('hex'),
  HEX: (s) => Buffer.from(s).toString('hex').toUpperCase(),
  base64: (s) => Buffer.from(s).toString('base64'),
  'base64, one byte on': (s) => Buffer.from(`x${s}y`).toString('base64'),
  'base64, two bytes on': (s) => Buffer.from(`xx${s}y`).toString('base64'),
  'base64 in lines of 76': (s) => wrapped(Buffer.from(`user:${s}!`).toString('base64'), 76, '\n'),
  'base64 in lines of 64': (s) =>
    wrapped(Buffer.from(`${'u'.repeat(30)}${s}`).toString('base64'), 64, '\r\n'),
  base64url: (s) => Buffer.from(`x${s}`).toString('base64url'),
  'base64 of UTF-16': (s) => Buffer.from(`$p = "${s}"`, 'utf16le').toString('base64'),
  'base64 of UTF-16 in lines of 60': (s) =>
    wrapped(Buffer.from(`${s};`, 'utf16le').toString('base64'), 60, '\n'),
  'percents of JavaScript': encodeURIComponent,
  'percents of Python': (s) => percents(s).replaceAll('%2F', '/'),
  'a form': (s) => percents(s).replaceAll('%20', '+'),
  'percents in small letters': (s) => percents(s).replace(/%[0-9A-F]{2}/g, (c) => c.toLowerCase()),
  JSON: json,
  'JSON of Python': (s) => escaped(json(s), /[^\x20-\x7e]/g),
  'JSON of PHP': (s) => escaped(json(s).replaceAll('/', '\\/'), /[^\x20-\x7e]/g),
  'JSON of Go': (s) => escaped(json(s), /[<>&]/g),
  XML: xml,
  'an attribute of XML': (s) => xml(s).replaceAll('"', '&quot;').replaceAll("'", '&apos;'),
  'an attribute of HTML': (s) => xml(s).replaceAll('"', '&#34;').replaceAll("'", '&#39;'),
  'JSON of Windows PowerShell': (s) => escaped(json(s), /[<>&']/g),
  'JSON of .NET': (s) =>
    JSON.stringify(s)
      .slice(1, -1)
      .replaceAll('\\"', '\\u0022')
      .replace(/[<>&'+`]|[^\x20-\x7e]/g, (c) => escaped(c, /./s).toUpperCase().replace('U', 'u')),
  'set -x of bash': (s) => `+ login '${s.replaceAll("'", "'\\''")}'`,
  'set -x of zsh, without empty quotes': (s) =>
    `+ login ${`'${s.replaceAll("'", "'\\''")}'`.replace(/^''|''$/g, '')}`,
  'set -x of dash': (s) => `+ login '${s.replaceAll("'", `'"'"'`)}'`,
  'export -p of bash': (s) => `declare -x S="${s.replace(/[\\"$`]/g, '\\$&')}"`,
  'printf %q of bash': (s) => s.replace(/[ \t\\'"|&;()<>!{}*[\]?^$`,]|^[#~]/g, '\\$&'),
  'set -x of bash, with codes': (s) => `+ login $'${bash(s, /\p{Cc}/u)}'`,
  'set -x of bash, in ASCII': (s) => `+ login $'${bash(s, /[^ -~]/)}'`,
  'set -x of zsh': (s) => `+ login $'${zsh(s)}'`,
  'repr of Python': (s) => `'${python(s, /\p{Cc}|\u200d/u)}'`,
  'repr of Python in double quotes': (s) => `"${python(s, /\p{Cc}|\u200d/u).replaceAll("\\'", "'")}"`,
  'ascii of Python': (s) => `'${python(s, /[^ -~]/)}'`,
  'bytes of Python': (s) =>
    `b'${slashed(Buffer.from(s).toString('latin1'), /[^ -~]/, (c) => `\\x${hex(c, 2)}`)}'`,
  'an array of Node.js': (s) => `[ '${slashed(s, /\p{Cc}/u, (c) => `\\x${hex(c, 2).toUpperCase()}`)}' ]`,
  'cat -v': (s) =>
    Array.from(Buffer.from(s), (byte) => {
      const low = byte & 0x7f;
      const isShown = byte === 9 || byte === 10 || (low > 31 && low < 127);
      const letter = String.fromCharCode(isShown ? low : low ^ 64);
      return `${byte > 127 ? 'M-' : ''}${isShown ? '' : '^'}${letter}`;
    }).join(''),
  'a literal of PowerShell': (s) => `'${s.replaceAll("'", "''")}'`,
  'a field of CSV': (s) => `"${s.replaceAll('"', '""')}"`,
  'UTF-16': (s) => Buffer.from(`pw ${s}.`, 'utf16le'),
  'a line that PowerShell broke': (s) => wrapped(`${'x'.repeat(75)}${s}`, 79, '\r\n'),
  'without the blanks around it': (s) => s.trim(),
};

const cutEverywhere = new Set([
  'as it is',
  'base64',
  'base64 in lines of 76',
  'percents of Python',
  'JSON',
  'XML',
]);

const all = canaries();
const hunters = new Map(all.map(({ secret }) => [secret, new SecretHunter([secret])]));
const isFound = (secret: string, written: string | Buffer) =>
  (hunters.get(secret)?.find(written) ?? []).length > 0;

function redact(patterns: PatternSet, ...pieces: Buffer[]): string {
  const redactor = new Redactor(patterns);
  return Buffer.concat([...pieces.map((piece) => redactor.push(piece)), redactor.end()]).toString('latin1');
}

test('without masking the hunter finds each of 200 secrets in each encoding', () => {
  expect(new Set(all.map(({ secret }) => secret)).size).toBe(200);
  for (const [name, encode] of Object.entries(encodings)) {
    const missed = all.filter(({ secret }) => !isFound(secret, encode(secret)));
    expect(
      missed.map(({ shape }) => shape),
      name,
    ).toEqual([]);
  }
});

test('with masking it finds none, wherever the stream is cut', () => {
  const leaks: string[] = [];
  for (const { shape, secret } of all) {
    const patterns = new PatternSet(textPatterns(secret));
    for (const [name, encode] of Object.entries(encodings)) {
      const stream = Buffer.concat([
        Buffer.from('before '),
        Buffer.from(encode(secret)),
        Buffer.from(' after\n'),
      ]);
      const shown = redact(patterns, stream);
      if (isFound(secret, Buffer.from(shown, 'latin1'))) leaks.push(`${shape}: ${name}`);
      // Only the shortest of each shape: the same code holds back the others.
      if (!shape.endsWith('size 0') || !cutEverywhere.has(name)) continue;
      for (let at = 0; at <= stream.length; at++) {
        if (redact(patterns, stream.subarray(0, at), stream.subarray(at)) !== shown)
          leaks.push(`${shape}: ${name}, cut at ${at}`);
      }
    }
  }
  expect(leaks).toEqual([]);
});

test('unnamed secrets of known forms are masked in plain text and in JSON; without detectors the hunter finds each', () => {
  const unnamed = unnamedSecrets();
  for (const write of [(text: string) => text, json]) {
    const finds = ({ secret }: { secret: string }, text: string) =>
      new SecretHunter([secret]).find(text).length > 0;
    expect(
      unnamed.filter((one) => !finds(one, Masking.of(new PatternSet([])).text(write(one.printed)))),
    ).toEqual([]);
    expect(
      unnamed.filter((one) => finds(one, Masking.of(new PatternSet([]), true).text(write(one.printed)))),
    ).toEqual([]);
  }
});
