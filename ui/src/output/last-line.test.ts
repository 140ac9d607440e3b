import { expect, it } from 'vitest';
import { lastLineOf } from './last-line.ts';

const last = (text: string) => lastLineOf(new TextEncoder().encode(text));

it('is the last line that isn’t blank, whether or not it is finished', () => {
  expect(last('one\ntwo\n')).toBe('two');
  expect(last('one\ntwo')).toBe('two');
  expect(last('one\n\n  \n')).toBe('one');
  expect(last('\n\n')).toBe('');
  expect(last('')).toBe('');
});

it('is what a terminal would show, without styles or overwritten text, and with hostile characters named', () => {
  expect(last('\u001b[31mred\u001b[0m\n')).toBe('red');
  expect(last(' 10%\r 20%\r 30%\r\n')).toBe(' 30%');
  expect(last('user\u202egpj.exe\n')).not.toContain('\u202e');
});

it('is cut if it is endless', () => {
  expect(last('x'.repeat(5_000))).toHaveLength(300);
});
