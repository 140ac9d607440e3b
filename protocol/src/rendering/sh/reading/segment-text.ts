// The text in the segments of a word.
import type { Quoting, Segment, Word } from './syntax.ts';

/** Adds text to the last segment if that is of the same quoting; empty text is a segment of its own. */
export function addText(segments: Segment[], text: string, quoting: Quoting, at: number): void {
  const last = segments.at(-1);
  if (last?.kind === 'text' && last.quoting === quoting && text !== '') last.text += text;
  else segments.push({ kind: 'text', text, quoting, at });
}

/** Returns the last segment's text if it stands without quotes; otherwise ''. */
export function lastText(segments: readonly Segment[]): string {
  const last = segments.at(-1);
  return last?.kind === 'text' && last.quoting === 'bare' ? last.text : '';
}

/** The same for the only segment; undefined if there are several or none. */
export function onlyText(segments: readonly Segment[]): string | undefined {
  return segments.length === 1 ? lastText(segments) : undefined;
}

/** Whether a word is the beginning of `[ i ]=…`, which is one element of an array for bash. */
export function isOpenElement({ segments }: Word): boolean {
  let depth = 0;
  for (const [index, segment] of segments.entries()) {
    const text = segment.kind === 'text' && segment.quoting === 'bare' ? segment.text : '';
    if (index === 0 && !text.startsWith('[')) return false;
    for (const char of text) {
      if (char === '[') depth += 1;
      else if (char === ']') depth -= 1;
      if (depth === 0) return false;
    }
  }
  return depth > 0;
}

/** Returns the text that what follows a name in `${…}` begins with. */
export function operatorText(segments: readonly Segment[]): string {
  const [first] = segments;
  return first?.kind === 'text' ? first.text : '';
}
