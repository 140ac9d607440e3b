import { expect, test } from 'vitest';
import { type ReadEvent, ReadStream } from './read-stream.ts';

const nonce = 'a1b2';
const begin = `Welcome!\n${nonce} begin\n`;

function read(...parts: string[]): ReadEvent[] {
  const stream = new ReadStream(nonce);
  return parts.flatMap((part) => [...stream.push(Buffer.from(part))]);
}

test('pieces of output are read by their frames, wherever the bytes were split', () => {
  const text = `${begin}r start 17\nd 1 4\none\nd 2 4\nx 9\nx 3\nend\n`;
  const whole = read(text);
  expect(whole.map(({ is }) => is)).toEqual(['begin', 'report', 'output', 'output', 'exit', 'end']);
  const bytes = (events: ReadEvent[]) =>
    events.flatMap((event) => (event.is === 'output' ? [event.bytes.toString()] : [])).join('');
  expect(bytes(whole)).toBe('one\nx 9\n');
  expect(bytes(read(...text))).toBe('one\nx 9\n');
});

test('the reason why a command was ended comes before its exit, and only known reasons count', () => {
  const events = read(begin, 'w timed_out\nw whatever\nx 143\n');
  expect(events.slice(1)).toEqual([
    { is: 'stopped', why: 'timed_out' },
    { is: 'exit', code: 143 },
  ]);
});

test.each([
  'd 1 0',
  'd 1 0.5',
  'd 1 -1',
  'd 1 1e999',
  'd 1 NaN',
  'd 1',
  'x',
  'x NaN',
  'x 1e300',
  'x -1',
  'y',
])('a target that says “%s” is not what was started there', (line) => {
  expect(() => read(begin, `${line}\nmore`)).toThrow('something else than output');
});

test('a line that never ends is not buffered', () => {
  expect(() => read(begin, 'd '.repeat(4_096))).toThrow('something else than output');
});

test('a startup file may print any amount, with or without line ends, before the reader’s first word', () => {
  const much = 'x'.repeat(10_000);
  for (const banner of [much, `${much}\n`, `${much}${much}\n${much}`])
    expect(read(banner, much, `${nonce} be`, 'gin\nx 3\n')).toEqual([
      { is: 'begin' },
      { is: 'exit', code: 3 },
    ]);
});
