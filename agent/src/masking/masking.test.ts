import { expect, test } from 'vitest';
import { cutText } from '../cut-text.ts';
import { Masking } from './masking.ts';
import { PatternSet } from './pattern-set.ts';
import { textPatterns } from './secret-patterns.ts';

const secret = 'correct-horse-battery';
const masking = Masking.of(new PatternSet(textPatterns(secret)));

test('a secret is masked wherever a text that holds it was cut', () => {
  const text = `The path /srv/${secret}/x is not there`;
  const from = text.indexOf(secret);
  for (let length = from + 5; length <= text.length; length++) {
    const shown = masking.text(`No: ${cutText(text, length)}: try again`);
    expect(shown).toContain('/srv/********');
    expect(shown).not.toContain('corr');
  }
});

test('the beginning of a secret is shown in a text that was not cut, and one of three bytes in any', () => {
  expect(masking.text('correct-horse')).toBe('correct-horse');
  expect(masking.text('and so… cor… the rest')).toBe('and so… cor… the rest');
});
