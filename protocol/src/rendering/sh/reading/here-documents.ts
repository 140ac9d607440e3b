// Reads here-documents: what a line asks for stands after the end of that line.

import { Unreadable } from './nesting.ts';
import { holeMark, literalOf, type Redirect, type Segment } from './syntax.ts';
import type { WordReader } from './word-reader.ts';

interface Due {
  redirect: Redirect;
  stripsTabs: boolean;
}

interface Extent {
  from: number;
  delimiter: string;
  stripsTabs: boolean;
  quoted: boolean;
}

export class HereDocuments {
  readonly #due: Due[] = [];

  /** Whether the text of one begins after this line. */
  get areDue(): boolean {
    return this.#due.length > 0;
  }

  /** For a redirection by `<<` or `<<-`. */
  ask(redirect: Redirect): void {
    this.#due.push({ redirect, stripsTabs: redirect.operator === '<<-' });
  }

  /** At the end of a line: reads those that its commands asked for. */
  read(words: WordReader): void {
    const pending = this.#due.splice(0);
    const [first] = pending;
    if (first === undefined) return;
    const line = words.text.slice(first.redirect.at, words.at - 1);
    if (line.replaceAll('\\\n', '').includes('\n')) {
      throw new Unreadable('a line ends between a here-document and its text', first.redirect.at);
    }
    for (const { redirect, stripsTabs } of pending) {
      const delimiter = literalOf(redirect.word);
      if (delimiter === undefined)
        throw new Unreadable('a here-document has no plain delimiter', redirect.word.at);
      if (/\$['"]/.test(words.text.slice(redirect.word.at, redirect.word.end)))
        throw new Unreadable('the delimiter of a here-document begins with $', redirect.word.at);
      const quoted = redirect.word.segments.some((segment) => segment.quoting !== 'bare');
      const from = words.at;
      const [end, next] = endOf(words, { from, delimiter, stripsTabs, quoted });
      if (quoted) redirect.body = { quoted, segments: plainSegments(words.text, from, end) };
      else redirect.body = { quoted, segments: words.expandable(from, end) };
      words.at = next;
    }
  }
}

/** Returns where the text ends, and where the line after the delimiter begins. */
function endOf(
  { text: script, end: endOfScript }: WordReader,
  { from, delimiter, stripsTabs, quoted }: Extent,
): [number, number] {
  // Without quotes, a backslash joins a line to the next one, which shells do before or after they look for the end.
  let before: string | undefined;
  for (let at = from; at < endOfScript; ) {
    const newline = script.indexOf('\n', at);
    const end = newline < 0 || newline >= endOfScript ? endOfScript : newline;
    const line = script.slice(at, end);
    const isEnd = (text: string) => (stripsTabs ? text.replace(/^\t+/, '') : text) === delimiter;
    if (before !== undefined && (isEnd(line) || isEnd(before + line)))
      throw new Unreadable('a backslash stands before the end of a here-document', at - 1);
    if (isEnd(line)) return [at, Math.min(end + 1, endOfScript)];
    const isJoined = !quoted && /(?<!\\)(\\\\)*\\$/.test(line);
    // No more is needed than what may be a beginning of the delimiter.
    before = isJoined ? `${before ?? ''}${line.slice(0, -1)}`.slice(0, delimiter.length + 100) : undefined;
    at = end + 1;
  }
  throw new Unreadable(`the here-document is not closed by ${JSON.stringify(delimiter)}`, from);
}

function plainSegments(text: string, from: number, end: number): Segment[] {
  const segments: Segment[] = [];
  let begin = from;
  const add = (until: number) => {
    if (until > begin)
      segments.push({ kind: 'text', text: text.slice(begin, until), quoting: 'single', at: begin });
  };
  for (let at = text.indexOf(holeMark, from); at >= 0 && at < end; at = text.indexOf(holeMark, at + 1)) {
    add(at);
    segments.push({ kind: 'hole', quoting: 'single', at });
    begin = at + 1;
  }
  add(end);
  return segments;
}
