// Where the text of a here-document begins and ends, and what in it is expanded.
import { expect, test } from 'vitest';
import { commandsIn } from '../sources.ts';
import { readScript } from './read-script.ts';
import type { Segment } from './syntax.ts';

/** The texts of all, with a placeholder as `_`; a quoted one holds nothing but placeholders. */
function bodies(text: string): string[] {
  const { list, unreadable } = readScript(text, false);
  expect(unreadable).toBeUndefined();
  return [...commandsIn(list)]
    .flatMap(({ redirects }) => redirects)
    .map(({ body }) => (body?.segments ?? []).map(written).join(''));
}

function written(segment: Segment): string {
  if (segment.kind === 'text') return segment.text;
  return segment.kind === 'hole' ? '_' : `<${segment.kind}>`;
}

function whyUnreadable(text: string): string | undefined {
  return readScript(text, false).unreadable?.why;
}

test('the text ends at a line that is the delimiter and nothing else', () => {
  expect(bodies('cat <<E\na\nE b\n E\nE\necho c')).toEqual(['a\nE b\n E\n']);
});

test('tabs before the delimiter count only behind <<-', () => {
  expect(bodies('cat <<-E\n\ta\n\tE\necho b')).toEqual(['\ta\n']);
  expect(bodies('cat <<E\n\tE\nE\n')).toEqual(['\tE\n']);
});

test('several of one line follow each other, whatever stands between their commands', () => {
  expect(bodies('cat <<A | tr a b <<B && echo\na\nA\nb\nB\n')).toEqual(['a\n', 'b\n']);
});

test('the text is expanded unless the delimiter is quoted', () => {
  expect(bodies('cat <<E\n$x $(ls) \uFDD0\nE')).toEqual(['<parameter> <command> _\n']);
  expect(bodies("cat <<'E'\n$x $(ls) \uFDD0\nE")).toEqual(['$x $(ls) _\n']);
  expect(bodies('cat <<\\E\n$x \uFDD0\nE')).toEqual(['$x _\n']);
});

test('one whose end depends on the shell makes the script unreadable', () => {
  expect(whyUnreadable('cat <<E\na\\\nE\nE')).toContain('a backslash stands before the end');
  expect(whyUnreadable("cat <<'E'\na\\\nE")).toBeUndefined();
});

test('one without an end, a plain delimiter or a text makes the script unreadable', () => {
  expect(whyUnreadable('cat <<E\na')).toContain('is not closed by "E"');
  expect(whyUnreadable('cat <<$x\na\n$x')).toContain('has no plain delimiter');
  expect(whyUnreadable('echo $(cat <<E)\na\nE')).toContain('does not begin');
  expect(whyUnreadable("cat <<E 'a\nb'\nc\nE")).toContain('a line ends between');
});
