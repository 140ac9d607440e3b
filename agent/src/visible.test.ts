import { expect, test } from 'vitest';
import { visible, visibleText } from './visible.ts';

test('what a server says can not move the cursor, and no line of it looks like one of the program', () => {
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
