import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RawChunk, StreamName } from './line-index.ts';
import { type Line, LineStore, maxLineBytes } from './line-store.ts';
import { readLine } from './sgr.ts';

const encoder = new TextEncoder();
const chunk = (seq: number, text: string | Uint8Array, stream: StreamName = 'stdout'): RawChunk => ({
  seq,
  stream,
  elapsedMs: seq * 100,
  bytes: typeof text === 'string' ? encoder.encode(text) : text,
});
const textOf = (line: Line) =>
  line.kind === 'line' ? line.spans.map((span) => span.text).join('') : `<${line.kind}>`;
function storeOf(chunks: RawChunk[], budgetBytes = 1_000_000): LineStore {
  const store = new LineStore(budgetBytes);
  for (const one of chunks) store.append(one);
  return store;
}
const allText = (store: LineStore) =>
  store.lines('both', 0, store.index.rowCount('both')).map((line) => textOf(line));

describe('lines of an output', () => {
  it('splits a chunk at newlines and adds no empty row after the last one', () => {
    expect(allText(storeOf([chunk(1, 'one\n\ntwo\n')]))).toEqual(['one', '', 'two']);
  });

  it('joins a line that continues in the next chunk, at the place where it began', () => {
    const store = storeOf([chunk(1, 'one\ntw'), chunk(2, 'o\nthree')]);
    expect(allText(store)).toEqual(['one', 'two', 'three']);
    expect(store.index.isOpen('stdout')).toBe(true);
  });

  it('keeps the true order of both streams and each line whole', () => {
    const store = storeOf([chunk(1, 'out be'), chunk(2, 'warning\n', 'stderr'), chunk(3, 'gins\nnext\n')]);
    expect(
      store.lines('both', 0, 9).map((line) => [textOf(line), line.kind === 'line' && line.stream]),
    ).toEqual([
      ['out begins', 'stdout'],
      ['warning', 'stderr'],
      ['next', 'stdout'],
    ]);
  });

  it('joins a character that is split between two chunks', () => {
    const bytes = encoder.encode('größe\n');
    expect(allText(storeOf([chunk(1, bytes.slice(0, 3)), chunk(2, bytes.slice(3))]))).toEqual(['größe']);
  });

  it('keeps the line numbers when only one stream is shown', () => {
    const store = storeOf([chunk(1, 'a\nb\n'), chunk(2, 'E\n', 'stderr'), chunk(3, 'c\n')]);
    const errors = store.lines('stderr', 0, 9);
    expect(errors.map((line) => line.kind === 'line' && line.number)).toEqual([3]);
    expect(store.index.rowOfLine('stdout', 4)).toBe(2);
    expect(store.index.rowOfLine('both', 3)).toBe(2);
  });

  it('doesn’t count a marker in the line numbers', () => {
    const store = storeOf([chunk(1, 'a\nbro')]);
    store.index.mark(4, 'gap', 'chunks 2 to 4 are lost');
    store.append(chunk(5, 'ken\nz\n'));
    expect(
      store.lines('both', 0, 9).map((line) => [textOf(line), line.kind === 'line' ? line.number : 0]),
    ).toEqual([
      ['a', 1],
      ['bro', 2],
      ['<marker>', 0],
      ['ken', 3],
      ['z', 4],
    ]);
    expect(store.index.rowOfLine('both', 4)).toBe(4);
  });

  it('shows the last version of a redrawn progress line and how many came before', () => {
    const line = storeOf([chunk(1, ' 10%\r 50%'), chunk(2, '\r100%\r\n')]).line('both', 0);
    expect(textOf(line)).toBe('100%');
    expect(line.kind === 'line' && line.redraws).toBe(2);
  });

  it('carries a color from line to line and from chunk to chunk', () => {
    const store = storeOf([chunk(1, '\u001b[31mred\nstill'), chunk(2, ' red\nand red\u001b[0m\nplain\n')]);
    const styles = store
      .lines('both', 0, 9)
      .map((line) => line.kind === 'line' && (line.spans[0]?.style ?? 0));
    expect(styles[0]).toBeGreaterThan(0);
    expect(styles).toEqual([styles[0], styles[0], styles[0], 0]);
  });

  it('cuts a line that is too long and says how much is missing', () => {
    const store = storeOf(
      [1, 2, 3, 4].map((seq) => chunk(seq, 'x'.repeat(maxLineBytes - 1))).concat(chunk(5, '\nend\n')),
    );
    const line = store.line('both', 0);
    expect(textOf(line).length).toBe(maxLineBytes);
    expect(line.kind === 'line' && line.cutBytes).toBe(3 * maxLineBytes - 4);
    expect(textOf(store.line('both', 1))).toBe('end');
  });

  it('drops the least recently used text beyond its budget and requests it again', () => {
    const store = storeOf([chunk(1, 'one\n'), chunk(2, 'two\n'), chunk(3, 'three\n')], 10);
    expect(store.residentBytes).toBe(10);
    expect(allText(store)).toEqual(['<pending>', 'two', 'three']);
    expect(store.takeWanted()).toEqual([1]);
    store.restore(chunk(1, 'one\n'));
    expect(textOf(store.line('both', 0))).toBe('one');
    expect(store.residentBytes).toBeLessThanOrEqual(10);
  });

  it('returns the rows that may contain a text: those that do, and the last one, which may continue', () => {
    const store = storeOf([
      chunk(1, 'tail of nothing\nEins\nzwei größe\ndrei eins eins\nvier\nfünf ei'),
      chunk(2, 'ns\nsechs\n'),
    ]);
    expect(store.rowsWith(0, 'eins')).toEqual([1, 3, 5]);
    expect(store.text(0, 5)).toBe('fünf eins');
    expect(store.rowsWith(1, 'eins')).toEqual([0]);
    expect(storeOf([chunk(1, 'a\u001b[1mb\nc\nd\n')]).rowsWith(0, 'x')).toEqual([0, 1, 2]);
  });

  it('refuses a chunk out of order', () => {
    const store = storeOf([chunk(1, 'a\n'), chunk(2, 'b\n')]);
    expect(() => store.append(chunk(2, 'b\n'))).toThrow(RangeError);
  });

  it('shows the same lines however the output was cut into chunks', () => {
    const pieces = fc.array(fc.string({ unit: fc.constantFrom('a', 'é', '\n', '日'), maxLength: 12 }), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(pieces, fc.array(fc.nat(20), { maxLength: 8 }), (texts, cuts) => {
        const bytes = encoder.encode(texts.join(''));
        const chunks: RawChunk[] = [];
        let from = 0;
        for (const size of cuts) {
          chunks.push(chunk(chunks.length + 1, bytes.slice(from, from + size)));
          from += size;
        }
        chunks.push(chunk(chunks.length + 1, bytes.slice(from)));
        const expected = texts.join('').split('\n');
        if (expected.at(-1) === '') expected.pop();
        expect(allText(storeOf(chunks))).toEqual(expected);
      }),
    );
  });
});

describe('styles and controls, however the bytes are cut', () => {
  const esc = '\u001b';
  const piece = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.constantFrom(esc, '\u009b', `${esc}[`, '[', '31', '1', ';', ':', 'm', ' ', '?', 'é', '€'),
    },
    fc.constantFrom(
      `${esc}]`,
      '\u009d',
      `${esc}P`,
      '\u0090',
      '\u009c',
      `${esc}\\`,
      '\\',
      '\u0007',
      `${esc}(B`,
      '0'.repeat(300),
    ),
    fc.constantFrom(
      'a',
      '\n',
      '\n',
      '\r',
      '\u0085',
      '\u0000',
      '\u007f',
      '\u202e',
      '\u2028',
      '\u2029',
      '\ufeff',
    ),
  );
  const hostile = fc.array(piece, { maxLength: 40 }).map((pieces) => encoder.encode(pieces.join('')));
  const linesOf = (store: LineStore) => store.lines('both', 0, store.index.rowCount('both'));
  const spansOf = (store: LineStore) => linesOf(store).map((line) => line.kind === 'line' && line.spans);
  function cutAt(bytes: Uint8Array, places: readonly number[]): RawChunk[] {
    const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
    const starts = [0, ...ends];
    return starts.map((from, at) => chunk(at + 1, bytes.slice(from, starts[at + 1])));
  }

  it('no control character reaches the page, and each row looks as if the output had come in one piece', () => {
    fc.assert(
      fc.property(hostile, fc.array(fc.nat(200), { maxLength: 6 }), (bytes, places) => {
        const cutStore = storeOf(cutAt(bytes, places));
        expect(spansOf(cutStore)).toEqual(spansOf(storeOf([chunk(1, bytes)])));
        for (const character of allText(cutStore).join('')) {
          expect(/[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/u.test(character.replace('\t', ''))).toBe(false);
        }
      }),
      { numRuns: 1500 },
    );
  });

  it('a row begins in the style at the end of the rows before it', () => {
    fc.assert(
      fc.property(hostile, (bytes) => {
        let style = 0;
        const whole = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
        const rows = whole.split('\n');
        if (rows.at(-1) === '') rows.pop();
        const expected = rows.map((text) => {
          const row = text.replace(/^\ufeff/, '');
          const before = style;
          style = readLine(row, style).style;
          return row.includes('\r') ? false : readLine(row, before).spans;
        });
        const shown = spansOf(storeOf([chunk(1, bytes)])).map((spans, at) =>
          rows[at]?.includes('\r') ? false : spans,
        );
        expect(shown).toEqual(expected);
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['an 8-bit control sequence', 'a\u009b31m\nred\n'],
    ['one cut between its bytes', `x${esc}[3|1mred\nred\n`],
    ['one cut within its first character', 'x|\u009b31mred\nred\n'],
  ])('%s colors the next row', (_, text) => {
    const bytes = text.split('|').map((part) => encoder.encode(part));
    const parts = text.includes('|\u009b')
      ? [encoder.encode('x\u009b').slice(0, 2), encoder.encode('x\u009b31mred\nred\n').slice(2)]
      : bytes;
    const store = storeOf(parts.map((part, at) => chunk(at + 1, part)));
    expect(spansOf(store).at(-1)).toEqual([{ text: 'red', style: 2 }]);
  });
});
