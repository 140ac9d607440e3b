// Estimates how large a regular expression becomes with its repetitions expanded, before it is compiled: a few hundred
// `x{1000}` take a compiler seconds.

/** A Unicode class is a table of hundreds of ranges. */
const unicodeClassSize = 5;

/**
 * Without regard to case, the compiler looks at each character of a range, up to the last one that has another case:
 * at so many in about the time of one step.
 */
const foldedPerStep = 512;
const lastWithCase = 0x1e943;

interface Group {
  size: number;
  /** Size of its last element, which a following repetition would repeat. */
  last: number;
}

/** Returns the approximate size of the compiled program, in steps. For an invalid pattern the result is arbitrary. */
export function expandedSize(source: string): number {
  const open: Group[] = [{ size: 0, last: 0 }];
  const ignoresCase = /\(\?[a-z-]*i/i.test(source);
  const add = (size: number) => {
    const group = open.at(-1);
    if (group === undefined) return;
    group.size += size;
    group.last = size;
  };
  for (let at = 0; at < source.length; at++) {
    const character = source[at];
    if (character === '\\') {
      add(/[pP]/.test(source[at + 1] ?? '') ? unicodeClassSize : 1);
      at = endOfEscape(source, at);
    } else if (character === '[') {
      const end = endOfClass(source, at);
      const members = source.slice(at + (source[at + 1] === '^' ? 2 : 1), end);
      add((/\\[pP]/.test(members) ? unicodeClassSize : 1) + (ignoresCase ? foldingOf(members) : 0));
      at = end;
    } else if (character === '(') open.push({ size: 2, last: 0 });
    else if (character === ')') {
      const group = open.length > 1 ? open.pop() : undefined;
      add(group?.size ?? 1);
    } else if (character === '{') {
      const counts = /^\{(\d{1,7})(?:,(\d{0,7}))?\}/.exec(source.slice(at, at + 18));
      if (counts === null) add(1);
      else {
        repeat(open.at(-1), Math.max(Number(counts[1]), Number(counts[2] ?? 0)));
        at += counts[0].length - 1;
      }
    } else add(1);
  }
  return open.reduce((sum, group) => sum + group.size, 0);
}

function repeat(group: Group | undefined, times: number): void {
  if (group === undefined) return;
  const repeated = group.last * Math.max(times, 1);
  group.size += repeated - group.last;
  group.last = repeated;
}

function endOfEscape(source: string, at: number): number {
  if (source[at + 1] === 'Q') {
    const end = source.indexOf('\\E', at);
    return end < 0 ? source.length : end + 1;
  }
  const braced = /^\\[pPx]\{[^}]*\}/.exec(source.slice(at, at + 64));
  return at + (braced?.[0].length ?? 2) - 1;
}

function endOfClass(source: string, start: number): number {
  // `]` as the first member stands for itself.
  let at = start + (source[start + 1] === '^' ? 2 : 1);
  if (source[at] === ']') at++;
  for (; at < source.length && source[at] !== ']'; at++) {
    if (source[at] === '\\') at++;
    else if (source[at] === '[') at += (/^\[:\^?\w+:\]/.exec(source.slice(at, at + 16))?.[0].length ?? 1) - 1;
  }
  return at;
}

/** A member of a class: an escape, as far as it is one of a single character, or the character itself. */
const member = String.raw`\\x\{[0-9a-fA-F]+\}|\\x[0-9a-fA-F]{2}|\\[0-7]{1,3}|\\.|[^\\]`;

/** Returns what the ranges of a class take if case is ignored, in steps. */
function foldingOf(members: string): number {
  let characters = 0;
  for (const [, from = '', to = ''] of members.matchAll(new RegExp(`(${member})-(${member})`, 'gsu'))) {
    characters += Math.max(0, Math.min(codeOf(to), lastWithCase) - codeOf(from));
  }
  return Math.floor(characters / foldedPerStep);
}

function codeOf(text: string): number {
  const [, hex] = /^\\x\{?([0-9a-f]+)/i.exec(text) ?? [];
  if (hex !== undefined) return Number.parseInt(hex, 16);
  const [, octal] = /^\\([0-7]+)$/.exec(text) ?? [];
  if (octal !== undefined) return Number.parseInt(octal, 8);
  return text.codePointAt(text.startsWith('\\') ? 1 : 0) ?? 0;
}
