import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readLine, styleAfter, styleClasses } from './sgr.ts';

const esc = '\u001b';
const shown = (text: string) =>
  readLine(text, 0).spans.map((span) => [span.text, styleClasses(span.style)] as const);

describe('reading a line of output', () => {
  it('keeps plain text in one span', () => {
    expect(shown('apt-get -q update\tdone')).toEqual([['apt-get -q update\tdone', '']]);
  });

  it('turns SGR into classes and ends them at a reset', () => {
    expect(shown(`${esc}[1;31mE:${esc}[0m no space`)).toEqual([
      ['E:', 'f1 g-bold'],
      [' no space', ''],
    ]);
  });

  it('treats an empty parameter as a reset', () => {
    expect(shown(`${esc}[32mok${esc}[m done`)).toEqual([
      ['ok', 'f2'],
      [' done', ''],
    ]);
  });

  it('maps 256 and 24-bit colors to the nearest legible one', () => {
    expect(shown(`${esc}[38;5;196mred`)).toEqual([['red', 'f9']]);
    expect(shown(`${esc}[38;2;10;160;20mgreen`)).toEqual([['green', 'f2']]);
    expect(shown(`${esc}[38:2:250:250:250mwhite`)).toEqual([['white', 'f15']]);
  });

  it('applies the parameters that follow an extended color', () => {
    expect(shown(`${esc}[38;5;4;1mx`)).toEqual([['x', 'f4 g-bold']]);
  });

  it('never hides text: conceal is ignored', () => {
    expect(shown(`${esc}[8msecret`)).toEqual([['secret', '']]);
  });

  it.each([
    ['cursor movement', `a${esc}[2;5Hb`],
    ['erasing', `a${esc}[2Jb`],
    ['a private mode', `a${esc}[?1049hb`],
    ['a window title', `a${esc}]0;owned\u0007b`],
    ['a hyperlink', `a${esc}]8;;https://evil.example${esc}\\b`],
    ['a device control string', `a${esc}Pq#0;2;0${esc}\\b`],
    ['a charset choice', `a${esc}(Bb`],
    ['an 8-bit control sequence', 'a\u009b2Jb'],
    ['SGR with intermediates', `a${esc}[1 mb`],
  ])('drops %s', (_name, text) => {
    expect(shown(text)).toEqual([['ab', '']]);
  });

  it('drops a string that never ends, up to the end of the line', () => {
    expect(shown(`a${esc}]0;never`)).toEqual([['a', '']]);
  });

  it('shows each of Unicode’s bidirectional controls (UAX 9, 2), so that no text is reversed', () => {
    const controls = [
      0x061c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069,
    ];
    for (const code of controls) {
      const name = `<U+${code.toString(16).toUpperCase().padStart(4, '0')}>`;
      expect(readLine(`a${String.fromCharCode(code)}b`, 0).spans.map((span) => span.text)).toEqual([
        'a',
        name,
        'b',
      ]);
    }
  });

  it('shows the names of other control characters and of bidirectional overrides', () => {
    expect(readLine('a\u0008b\u202ec', 0).spans).toEqual([
      { text: 'a', style: 0 },
      { text: '␈', style: 0, control: true },
      { text: 'b', style: 0 },
      { text: '<U+202E>', style: 0, control: true },
      { text: 'c', style: 0 },
    ]);
  });

  it('returns the style in which the next line begins', () => {
    const first = readLine(`${esc}[33mone`, 0);
    expect(styleClasses(first.style)).toBe('f3');
    expect(readLine('two', first.style).spans).toEqual([{ text: 'two', style: first.style }]);
    expect(styleAfter(`${esc}[33mone`, 0)).toBe(first.style);
  });

  it('never lets a control character through, and never throws', () => {
    const hostile = fc.string({
      unit: fc.constantFrom(
        esc,
        '[',
        ']',
        ';',
        ':',
        '3',
        '8',
        'm',
        '\\',
        'P',
        '\u0007',
        '\u009b',
        'a',
        '\r',
        '\u202e',
      ),
      maxLength: 60,
    });
    fc.assert(
      fc.property(hostile, (text) => {
        const { spans, style } = readLine(text, 0);
        const all = spans.map((span) => span.text).join('');
        for (const char of all) {
          const code = char.charCodeAt(0);
          expect(code >= 0x20 && !(code >= 0x7f && code <= 0x9f) && code !== 0x202e).toBe(true);
        }
        expect(style).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 2000 },
    );
  });
});
