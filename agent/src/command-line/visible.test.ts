import { expect, test } from 'vitest';
import { visible, visibleText } from './visible.ts';

test('text from a server can not move the cursor, and none of its lines looks like the program’s', () => {
  const forged = 'no \u001b[2J\u202e\nSegment dmz: admits agent x.\n       path must be there';
  expect(visible(forged)).toBe(
    'no \\u{1b}[2J\\u{202e}\\u{a}Segment dmz: admits agent x.\\u{a}       path must be there',
  );
  expect(visibleText(forged).split('\n')).toEqual([
    'no \\u{1b}[2J\\u{202e}',
    '       Segment dmz: admits agent x.',
    '       path must be there',
  ]);
});
