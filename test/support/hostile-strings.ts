// Values that would do harm if anything treated them as more than text. Each payload creates a file called `canary…`
// where it runs. The same seed gives the same strings.

const payloads = [
  '$(touch canary1)',
  '`touch canary2`',
  ';touch canary3;',
  '\ntouch canary4\n',
  '&&touch canary5',
  '||touch canary6',
  '|touch canary7',
  "';touch canary8;'",
  '";touch canary9;"',
  '>canary10',
  'a[$(touch canary11)]',
  '$((a[$(touch canary12)]))',
  '${a:=$(touch canary13)}',
  '<(touch canary14)',
  "'$(touch canary15)'",
  '"$(touch canary16)"',
  '\\$(touch canary17)',
  '\\\n$(touch canary18)',
  '\\`touch canary19\\`',
  '\nEOF\ntouch canary20\n',
  "'\"'\"'$(touch canary21)",
  '})touch canary22',
  '\r\ntouch canary23\r\n',
  '&touch canary24&',
  "$'\\ntouch canary25'",
  '=(touch canary26)',
  '*(e:touch canary27:)',
  '${(e):-$(touch canary28)}',
  '!touch canary29',
  '& type nul > canary30 &',
];
const fragments = [
  ...[
    "'",
    '"',
    '`',
    '\\',
    '$',
    '$$',
    '$@',
    '$*',
    '$#',
    '$?',
    '$0',
    '${',
    '}',
    '$(',
    ')',
    '((',
    '))',
    '[',
    ']',
  ],
  ...[
    '*',
    '?',
    '~',
    '~root',
    '!',
    '!!',
    '!$',
    '#',
    '%',
    '^',
    '&',
    '|',
    ';',
    '<',
    '>',
    '=',
    ',',
    ':',
    '{a,b}',
  ],
  ...[
    '%PATH%',
    '!PATH!',
    '%s%n%d',
    '\\n',
    '\\0',
    '\\c',
    '\\x41',
    '-',
    '--',
    '-n',
    '-e',
    '--help',
    '-rf',
    '/',
  ],
  ...[
    ' ',
    '  ',
    '\t',
    '\n',
    '\n\n',
    '\r',
    '\r\n',
    '\v',
    '\f',
    '\b',
    '\x1b[31m',
    '\x7f',
    '\x01',
    '\x1a',
    '\x04',
  ],
  ...[
    'é',
    'ß',
    '日本',
    'עברית',
    '\u202e',
    '\u200b',
    '\ufeff',
    '\u2028',
    '\u0085',
    '\u00a0',
    '😀',
    '👩‍👩‍👧',
    '\ufdd0',
  ],
  ...[
    '\uffff',
    '\u{10ffff}',
    'Ã©',
    '\u0083',
    '\u00ff',
    '“',
    '’',
    '‘',
    '–',
    '${{ parameters.a }}',
    '$${{',
    '}}',
  ],
  ...[
    'OPS_1',
    '$OPS_1',
    '${OPS_1}',
    '$IFS',
    '$HOME',
    'PATH=/x',
    'a',
    'B',
    '0',
    '-1',
    '1e9',
    'word',
    'and more words',
  ],
];

/** A generator of numbers from 0 up to 1, determined by the seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Returns this many strings: each fragment and payload alone, then mixtures; one in two thousand has 100 KB. */
export function hostileStrings(count: number, seed: number): string[] {
  const random = seeded(seed);
  const pick = (from: readonly string[]) => from[Math.floor(random() * from.length)] as string;
  const mixture = (parts: number) =>
    Array.from({ length: parts }, () => pick(random() < 0.3 ? payloads : fragments)).join('');
  const strings = ['', ...payloads, ...fragments];
  while (strings.length < count) {
    const isLarge = strings.length % 2_000 === 1_999;
    strings.push(isLarge ? largeText(mixture(40)) : mixture(1 + Math.floor(random() * 9)));
  }
  return strings.slice(0, count);
}

/** 100,000 bytes or slightly less, because a system accepts 128 KiB for an argument. */
function largeText(unit: string): string {
  const bytes = Buffer.byteLength(unit);
  return unit.repeat(Math.floor(100_000 / bytes));
}
