// Turns one line of possibly hostile terminal output into plain spans. SGR (ECMA-48 8.3.117) sets the style. Every
// other escape sequence is dropped; other control characters and bidirectional overrides are replaced by a visible
// name.

export interface Span {
  text: string;
  /** Style word (see `styleClasses`); 0 is plain. */
  style: number;
  /** The text is the name of a character that is not shown itself. */
  control?: true;
}

// A style is one small integer, so that an index of a million lines can keep styles in a typed array:
// bits 0-4 foreground + 1, bits 5-9 background + 1, then flags.
const foregroundShift = 0;
const backgroundShift = 5;
const flags = {
  bold: 1 << 10,
  dim: 1 << 11,
  italic: 1 << 12,
  underline: 1 << 13,
  inverse: 1 << 14,
  strike: 1 << 15,
};
const colorMask = 0b11111;

/** Returns the CSS classes of a style word. */
export function styleClasses(style: number): string {
  if (style === 0) return '';
  const classes: string[] = [];
  const foreground = (style >> foregroundShift) & colorMask;
  const background = (style >> backgroundShift) & colorMask;
  if (style & flags.dim) classes.push('g-dim');
  if (foreground > 0) classes.push(`f${foreground - 1}`);
  if (background > 0) classes.push(`g-on${(background - 1) % 8}`);
  if (style & flags.bold) classes.push('g-bold');
  if (style & flags.italic) classes.push('g-italic');
  if (style & flags.underline) classes.push('g-underline');
  if (style & flags.inverse) classes.push('g-inverse');
  if (style & flags.strike) classes.push('g-strike');
  return classes.join(' ');
}

/** Returns the spans of a line that begins in `style`, and the style in effect at its end. */
export function readLine(text: string, style: number): { spans: Span[]; style: number } {
  const spans: Span[] = [];
  let current = style;
  let plainFrom = 0;
  let at = 0;
  const flush = (to: number) => {
    if (to > plainFrom) push(spans, text.slice(plainFrom, to), current);
  };
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (!isSpecial(code)) {
      at += 1;
      continue;
    }
    flush(at);
    if (code === escapeCode || isC1(code)) {
      const sequence = readEscape(text, at);
      if (sequence.sgr !== undefined) current = applySgr(current, sequence.sgr);
      at = sequence.end;
    } else {
      spans.push({ text: nameOfControl(code), style: 0, control: true });
      at += 1;
    }
    plainFrom = at;
  }
  flush(text.length);
  return { spans, style: current };
}

/** Returns the style after `text` without making spans. A sequence ends at the end of its line, as in `readLine`. */
export function styleAfter(text: string, style: number): number {
  let current = style;
  for (const line of text.split('\n')) {
    for (const { sgr } of sequencesIn(line)) if (sgr !== undefined) current = applySgr(current, sgr);
  }
  return current;
}

/** Returns where the escape sequence begins that the end of the line cuts off; undefined if none is cut off. */
export function cutSequence(line: string): number | undefined {
  let cut: number | undefined;
  for (const { from, isWhole } of sequencesIn(line)) if (!isWhole) cut = from;
  return cut;
}

function* sequencesIn(line: string): Generator<Sequence & { from: number }> {
  sequenceStart.lastIndex = 0;
  for (let found = sequenceStart.exec(line); found !== null; found = sequenceStart.exec(line)) {
    const sequence = readEscape(line, found.index);
    yield { ...sequence, from: found.index };
    sequenceStart.lastIndex = sequence.end;
  }
}

/** ESC and the C1 controls: the characters at which `readEscape` can begin. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it looks for
const sequenceStart = /[\u001b\u0080-\u009f]/g;
/** Longest parameter text of an SGR sequence that is applied. No real one is longer; a longer one is dropped. */
export const maxSequenceLength = 256;

const escapeCode = 0x1b;
const isC1 = (code: number) => code >= 0x80 && code <= 0x9f;
const isBidi = (code: number) =>
  (code >= 0x202a && code <= 0x202e) ||
  (code >= 0x2066 && code <= 0x2069) ||
  code === 0x061c ||
  code === 0x200e ||
  code === 0x200f ||
  // Line and paragraph separators: browsers break the line there.
  code === 0x2028 ||
  code === 0x2029;

function isSpecial(code: number): boolean {
  if (code === 0x09) return false;
  return code < 0x20 || code === 0x7f || isC1(code) || (code >= 0x061c && isBidi(code));
}

function nameOfControl(code: number): string {
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return '\u2421';
  return `<U+${code.toString(16).toUpperCase().padStart(4, '0')}>`;
}

function push(spans: Span[], text: string, style: number) {
  const last = spans.at(-1);
  if (last !== undefined && last.style === style && last.control === undefined) last.text += text;
  else spans.push({ text, style });
}

interface Sequence {
  end: number;
  /** False if the text ended inside the sequence. */
  isWhole: boolean;
  sgr?: string;
}

/** Reads the escape sequence that starts at `at`. One that never ends takes up the rest of the line. */
function readEscape(text: string, at: number): Sequence {
  let code = text.charCodeAt(at);
  let next = at + 1;
  if (code === escapeCode) {
    if (next >= text.length) return { end: next, isWhole: false };
    const follower = text.charCodeAt(next);
    next += 1;
    // ESC with 4/0 to 5/15 is the 7-bit form of a C1 control.
    if (follower >= 0x40 && follower <= 0x5f) code = follower + 0x40;
    else return readShortEscape(text, next - 1);
  }
  if (code === 0x9b) return readControlSequence(text, next);
  const isString = code === 0x90 || code === 0x98 || (code >= 0x9d && code <= 0x9f);
  return isString ? readString(text, next) : { end: next, isWhole: true };
}

/** nF escapes have intermediates (2/0 to 2/15) before their final character: `ESC ( B`. */
function readShortEscape(text: string, from: number): Sequence {
  let at = from;
  while (at < text.length && text.charCodeAt(at) >= 0x20 && text.charCodeAt(at) <= 0x2f) at += 1;
  return { end: Math.min(at + 1, text.length), isWhole: at < text.length };
}

function readControlSequence(text: string, from: number): Sequence {
  let at = from;
  while (at < text.length && text.charCodeAt(at) >= 0x30 && text.charCodeAt(at) <= 0x3f) at += 1;
  const parameters = text.slice(from, at);
  const intermediatesFrom = at;
  while (at < text.length && text.charCodeAt(at) >= 0x20 && text.charCodeAt(at) <= 0x2f) at += 1;
  if (at >= text.length) return { end: at, isWhole: false };
  const isSgr =
    text[at] === 'm' &&
    at === intermediatesFrom &&
    parameters.length <= maxSequenceLength &&
    /^[0-9;:]*$/.test(parameters);
  return isSgr ? { end: at + 1, isWhole: true, sgr: parameters } : { end: at + 1, isWhole: true };
}

function readString(text: string, from: number): Sequence {
  for (let at = from; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 0x07 || code === 0x9c) return { end: at + 1, isWhole: true };
    if (code === escapeCode && text[at + 1] === '\\') return { end: at + 2, isWhole: true };
  }
  return { end: text.length, isWhole: false };
}

function withForeground(style: number, color: number | undefined): number {
  return (
    (style & ~(colorMask << foregroundShift)) | ((color === undefined ? 0 : color + 1) << foregroundShift)
  );
}

function withBackground(style: number, color: number | undefined): number {
  return (
    (style & ~(colorMask << backgroundShift)) | ((color === undefined ? 0 : color + 1) << backgroundShift)
  );
}

/** Applies the parameters of one SGR sequence. Conceal (8) and blink (5, 6) are ignored, so that no text is hidden. */
function applySgr(style: number, parameters: string): number {
  const codes = parameters.split(/[;:]/).map((part) => (part === '' ? 0 : Number(part)));
  let current = style;
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at] ?? 0;
    if (code === 38 || code === 48) {
      const extended = extendedColor(codes, at + 1);
      current =
        code === 38 ? withForeground(current, extended.color) : withBackground(current, extended.color);
      at += extended.used;
    } else {
      current = applyCode(current, code);
    }
  }
  return current;
}

function applyCode(style: number, code: number): number {
  if (code >= 30 && code <= 37) return withForeground(style, code - 30);
  if (code >= 90 && code <= 97) return withForeground(style, code - 90 + 8);
  if (code >= 40 && code <= 47) return withBackground(style, code - 40);
  if (code >= 100 && code <= 107) return withBackground(style, code - 100 + 8);
  switch (code) {
    case 0:
      return 0;
    case 1:
      return style | flags.bold;
    case 2:
      return style | flags.dim;
    case 3:
      return style | flags.italic;
    case 4:
    case 21:
      return style | flags.underline;
    case 7:
      return style | flags.inverse;
    case 9:
      return style | flags.strike;
    case 22:
      return style & ~(flags.bold | flags.dim);
    case 23:
      return style & ~flags.italic;
    case 24:
      return style & ~flags.underline;
    case 27:
      return style & ~flags.inverse;
    case 29:
      return style & ~flags.strike;
    case 39:
      return withForeground(style, undefined);
    case 49:
      return withBackground(style, undefined);
    default:
      return style;
  }
}

/** Reads `5;n` or `2;r;g;b` after 38 or 48, as the nearest of the 16 colors that are legible on our backgrounds. */
function extendedColor(codes: number[], from: number): { color: number | undefined; used: number } {
  if (codes[from] === 5) {
    const index = codes[from + 1] ?? 0;
    return { color: index < 16 ? index : nearest(...paletteColor(index)), used: 2 };
  }
  if (codes[from] === 2) {
    return { color: nearest(codes[from + 1] ?? 0, codes[from + 2] ?? 0, codes[from + 3] ?? 0), used: 4 };
  }
  return { color: undefined, used: 0 };
}

function paletteColor(index: number): [number, number, number] {
  if (index >= 232) {
    const grey = 8 + (Math.min(index, 255) - 232) * 10;
    return [grey, grey, grey];
  }
  const cube = index - 16;
  const level = (value: number) => (value === 0 ? 0 : 55 + value * 40);
  return [level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6)];
}

function nearest(red: number, green: number, blue: number): number {
  const high = Math.max(red, green, blue);
  const low = Math.min(red, green, blue);
  if (high - low < 40) return high < 64 ? 0 : high < 144 ? 8 : high < 216 ? 7 : 15;
  const middle = (high + low) / 2;
  const hue = (red > middle ? 1 : 0) | (green > middle ? 2 : 0) | (blue > middle ? 4 : 0);
  return high > 200 ? hue + 8 : hue;
}
