import { describe, expect, it } from 'vitest';
import { countMatches, looksLikeError, markMatches, shownText } from './find.ts';

const esc = '\u001b';

describe('finding in output', () => {
  it('searches the shown text: without escapes, after redraws, ignoring case', () => {
    expect(shownText(`${esc}[31mE${esc}[0mrror`)).toBe('Error');
    expect(shownText(' 10%\r100% Done\r')).toBe('100% Done');
    expect(countMatches('nginx Nginx-common NGINX', 'nginx')).toBe(3);
    expect(countMatches('aaaa', 'aa')).toBe(2);
  });

  it('marks a match across several spans as one', () => {
    const spans = [
      { text: 'the ng', style: 1 },
      { text: 'inx and NGINX', style: 2 },
    ];
    expect(markMatches(spans, 'nginx')).toEqual([
      { text: 'the ', style: 1 },
      { text: 'ng', style: 1, match: 0 },
      { text: 'inx', style: 2, match: 0 },
      { text: ' and ', style: 2 },
      { text: 'NGINX', style: 2, match: 1 },
    ]);
    expect(markMatches(spans, 'absent')).toEqual(spans);
  });

  it.each([
    'E: no space',
    'error: x',
    'sh: 1: foo: command not found',
    'make: *** failed',
    'rm: Permission denied',
  ])('recognizes “%s” as an error', (line) => expect(looksLikeError(line)).toBe(true));

  it.each(['0 errors', 'terror', 'Setting up libgpg-error0', 'The default is fine'])(
    'does not take “%s” for one',
    (line) => expect(looksLikeError(line)).toBe(false),
  );
});
