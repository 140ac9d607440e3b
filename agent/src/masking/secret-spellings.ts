// Other ways to write the same text, for languages in which some letters mean something.

/** Returns spellings escaped for URLs, JSON and XML, both minimal and generous. */
export function escapedSpellings(text: string): string[] {
  const wellFormed = text.isWellFormed() ? text : text.toWellFormed();
  const uri = encodeURIComponent(wellFormed);
  const strictUri = uri.replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  const lowerCase = (escaped: string) => escaped.replace(/%[0-9A-F]{2}/g, (c) => c.toLowerCase());
  const json = JSON.stringify(text).slice(1, -1);
  const codeOf = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
  const upperCodeOf = (c: string) => codeOf(c).toUpperCase().replace('U', 'u');
  const asciiJson = json.replace(/[^\x20-\x7e]/g, codeOf);
  const xml = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  const xmlQuoted = xml.replaceAll('"', '&quot;');
  return [
    uri,
    strictUri,
    lowerCase(uri),
    lowerCase(strictUri),
    strictUri.replaceAll('%20', '+'),
    strictUri.replaceAll('%2F', '/'),
    encodeURI(wellFormed),
    json,
    json.replaceAll('/', '\\/'),
    asciiJson,
    asciiJson.replaceAll('/', '\\/'),
    // Go; Windows PowerShell; Gson of Java; .NET, which writes quotes like that, too.
    json.replace(/[<>&]/g, codeOf),
    json.replace(/[<>&']/g, codeOf),
    json.replace(/[<>&'=]/g, codeOf),
    json.replaceAll('\\"', '"').replace(/[<>&'"+`]|[^\x20-\x7e]/g, upperCodeOf),
    xml,
    xmlQuoted,
    xmlQuoted.replaceAll("'", '&apos;'),
    xmlQuoted.replaceAll("'", '&#39;'),
    xmlQuoted.replaceAll("'", '&#x27;'),
    xml.replaceAll('"', '&#34;').replaceAll("'", '&#x27;'),
    xml.replaceAll('"', '&#34;').replaceAll("'", '&#39;'),
  ];
}

/** Returns spellings as a word in quotes, or in place of one, in shells and other languages. */
export function quotedSpellings(text: string): string[] {
  const backslashed = (letters: RegExp) => text.replace(letters, '\\$&');
  return [
    // What bash prints with set -x, dash with set -x, PowerShell and SQL with ' and with ".
    // Some shells leave out the empty quotes that this has at the ends.
    text.replaceAll("'", "'\\''").replace(/^'|'$/g, ''),
    text.replaceAll("'", `'"'"'`),
    text.replaceAll("'", "''"),
    text.replaceAll('"', '""'),
    // export -p and declare -p of bash; printf %q.
    backslashed(/[\\"$`]/g),
    backslashed(/[\s\\'"|&;()<>!{}*[\]?^$`,]|^[#~]/g),
    ...codings.map(({ letters, write }) => text.replace(letters, write)),
  ];
}

/** A way to write letters that are not shown as they are. */
interface Coding {
  letters: RegExp;
  write(letter: string): string;
}

const names = { '\n': 'n', '\r': 'r', '\t': 't' };
const moreNames = { ...names, '\x07': 'a', '\b': 'b', '\v': 'v', '\f': 'f' };

/** With a backslash and the letter's name, the letter itself, or else the code. */
function withBackslash(
  letters: RegExp,
  named: Readonly<Record<string, string>>,
  code: (letter: string) => string,
): Coding {
  return {
    letters,
    write: (letter) => {
      if (letter === '\\' || letter === "'") return `\\${letter}`;
      const name = named[letter];
      return name === undefined ? code(letter) : `\\${name}`;
    },
  };
}

const digits = (number: number, base: number, length: number) => number.toString(base).padStart(length, '0');
const ofBytes = (code: (byte: number) => string) => (letter: string) =>
  Array.from(Buffer.from(letter), code).join('');
const codePoint = (letter: string) => letter.codePointAt(0) ?? 0;

const octal = ofBytes((byte) => `\\${digits(byte, 8, 3)}`);
const caret = (letter: string) => `\\C-${String.fromCharCode(codePoint(letter) ^ 0x40)}`;
const javaScript = (letter: string) => `\\x${digits(codePoint(letter), 16, 2).toUpperCase()}`;

function python(letter: string): string {
  const code = codePoint(letter);
  if (code < 0x100) return `\\x${digits(code, 16, 2)}`;
  return code < 0x10000 ? `\\u${digits(code, 16, 4)}` : `\\U${digits(code, 16, 8)}`;
}

/** As `cat -v` and `less` show a byte. */
function shown(byte: number): string {
  if (byte >= 0x80) return `M-${shown(byte - 0x80)}`;
  return byte < 0x20 || byte === 0x7f ? `^${String.fromCharCode(byte ^ 0x40)}` : String.fromCharCode(byte);
}

const codings: readonly Coding[] = [
  // $'…' of bash and mksh, which a shell also prints with set -x: in a locale of the letters, and in any other; of zsh.
  withBackslash(/[\\']|\p{Cc}/gu, { ...moreNames, '\x1b': 'E' }, octal),
  withBackslash(/[\\']|[^ -~]/gu, { ...moreNames, '\x1b': 'E' }, octal),
  withBackslash(/[\\']|\p{Cc}/gu, moreNames, caret),
  // repr of Python, in either quotes; ascii of Python; repr of its bytes; an array or object in Node.js.
  withBackslash(/[\\']|\p{C}|\p{Zl}|\p{Zp}|(?! )\p{Zs}/gu, names, python),
  withBackslash(/\\|\p{C}|\p{Zl}|\p{Zp}|(?! )\p{Zs}/gu, names, python),
  withBackslash(/[\\']|[^ -~]/gu, names, python),
  withBackslash(/\\|[^ -~]/gu, names, python),
  withBackslash(
    /[\\']|[^ -~]/gu,
    names,
    ofBytes((byte) => `\\x${digits(byte, 16, 2)}`),
  ),
  withBackslash(
    /\\|[^ -~]/gu,
    names,
    ofBytes((byte) => `\\x${digits(byte, 16, 2)}`),
  ),
  withBackslash(/[\\']|\p{Cc}/gu, { ...names, '\b': 'b', '\f': 'f' }, javaScript),
  { letters: /[^ -~\n\t]/gu, write: ofBytes(shown) },
];
