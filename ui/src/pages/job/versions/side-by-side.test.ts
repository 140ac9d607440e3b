import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { inOneColumn, type SideRow, sideBySide } from './side-by-side.ts';

const text = (...lines: string[]) => lines.join('\n');

function shown(rows: readonly SideRow[]): string[] {
  return rows.map((row) =>
    row.kind === 'fold'
      ? `… ${row.lines}`
      : `${row.kind === 'same' ? ' ' : '*'} ${row.before === undefined ? '-' : `${row.before.number} ${row.before.text}`} | ${row.after === undefined ? '-' : `${row.after.number} ${row.after.text}`}`,
  );
}

describe('two texts beside each other', () => {
  test('are empty if they are the same', () => {
    expect(sideBySide('a\nb', 'a\nb')).toEqual([]);
  });

  test('have lines that differ face each other, with their own numbers', () => {
    expect(shown(sideBySide(text('a', 'b', 'c'), text('a', 'B', 'x', 'c')))).toEqual([
      '  1 a | 1 a',
      '* 2 b | 2 B',
      '* - | 3 x',
      '  3 c | 4 c',
    ]);
  });

  test('fold equal lines away from any change, at the beginning, in between and at the end', () => {
    const lines = Array.from({ length: 30 }, (_, at) => `line ${at + 1}`);
    const changed = lines.with(9, 'other').with(19, 'other');
    const rows = shown(sideBySide(lines.join('\n'), changed.join('\n')));
    expect(rows.filter((row) => row.startsWith('…'))).toEqual(['… 6', '… 3', '… 7']);
    expect(rows.filter((row) => row.startsWith('*'))).toEqual([
      '* 10 line 10 | 10 other',
      '* 20 line 20 | 20 other',
    ]);
  });

  test('contain both texts completely, whatever they are', () => {
    const anyText = fc.array(fc.constantFrom('a', 'b', 'c', ''), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(anyText, anyText, (before, after) => {
        const rows = sideBySide(before.join('\n'), after.join('\n'));
        if (rows.length === 0) {
          expect(before).toEqual(after);
          return;
        }
        const side = (which: 'before' | 'after', whole: readonly string[]) => {
          let next = 1;
          for (const row of rows) {
            if (row.kind === 'fold') next += row.lines;
            else if (row[which] !== undefined) {
              expect(row[which]).toEqual({ number: next, text: whole[next - 1] });
              next += 1;
            }
          }
          expect(next).toBe(whole.length + 1);
        };
        side('before', before);
        side('after', after);
      }),
    );
  });
});

test('in one column, what was removed stands before what replaces it', () => {
  const rows = sideBySide('a\nb\nc\nd', 'a\nB\nC\nc2\nd');
  const shown = inOneColumn(rows).map((row) =>
    row.kind === 'fold' ? `fold ${row.lines}` : `${row.kind} ${row.line.number} ${row.line.text}`,
  );
  expect(shown).toEqual([
    'same 1 a',
    'removed 2 b',
    'removed 3 c',
    'added 2 B',
    'added 3 C',
    'added 4 c2',
    'same 5 d',
  ]);
});
