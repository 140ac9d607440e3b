// Finding text in output. The search covers what the reader sees, without escape sequences, and ignores case.
import { readLine, type Span } from './sgr.ts';

/** Returns the text of a line as it is shown. */
export function shownText(text: string): string {
  const drawn = text.includes('\r')
    ? (text
        .split('\r')
        .filter((part) => part !== '')
        .at(-1) ?? '')
    : text;
  return readLine(drawn, 0)
    .spans.map((span) => span.text)
    .join('');
}

export function countMatches(text: string, query: string): number {
  const haystack = text.toLowerCase();
  const needle = query.toLowerCase();
  let found = 0;
  for (let at = haystack.indexOf(needle); at >= 0; at = haystack.indexOf(needle, at + needle.length))
    found += 1;
  return found;
}

/** Words by which programs announce an error, most of them only at the start of a line or after a prefix. */
const trouble =
  /(?:^|[\s:[(])(?:error|fatal|panic|critical|traceback|exception|segmentation fault)\b|^E: |\bfailed\b|command not found|permission denied/i;

export function looksLikeError(text: string): boolean {
  return trouble.test(text);
}

export interface MarkedSpan extends Span {
  /** Index of the match that this piece belongs to. */
  match?: number;
}

/** Splits spans at the matches of a query. A match may extend over several spans. */
export function markMatches(spans: readonly Span[], query: string): MarkedSpan[] {
  if (query === '') return [...spans];
  const haystack = spans
    .map((span) => span.text)
    .join('')
    .toLowerCase();
  const needle = query.toLowerCase();
  const pieces: MarkedSpan[] = [];
  let spanFrom = 0;
  let nth = 0;
  let start = haystack.indexOf(needle);
  for (const span of spans) {
    const spanTo = spanFrom + span.text.length;
    let at = spanFrom;
    while (at < spanTo) {
      const end = start + needle.length;
      if (start < 0 || start >= spanTo) {
        pieces.push({ ...span, text: span.text.slice(at - spanFrom) });
        at = spanTo;
      } else if (at < start) {
        pieces.push({ ...span, text: span.text.slice(at - spanFrom, start - spanFrom) });
        at = start;
      } else {
        const to = Math.min(end, spanTo);
        pieces.push({ ...span, text: span.text.slice(at - spanFrom, to - spanFrom), match: nth });
        at = to;
        if (to === end) {
          start = haystack.indexOf(needle, end);
          nth += 1;
        }
      }
    }
    spanFrom = spanTo;
  }
  return pieces;
}
