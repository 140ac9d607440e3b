import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ClixmlDecoder, unescapeClixml } from './clixml.ts';

const header = '#< CLIXML\r\n';
const begin = '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">';
const block = (content: string) => `${header}${begin}${content}</Objs>`;
const error = (text: string) => `<S S="Error">${text}</S>`;

function decode(text: string, size = 1 << 20): string {
  const decoder = new ClixmlDecoder();
  const bytes = Buffer.from(text);
  let out = '';
  for (let at = 0; at < bytes.length; at += size) out += decoder.write(bytes.subarray(at, at + size));
  return out + decoder.end();
}

test.each([
  ['text of other programs as it is', 'plain\r\nerror\r\n', 'plain\r\nerror\r\n'],
  [
    'errors line by line',
    block(error('bad : thing_x000D__x000A_') + error('At line:1 char:1_x000D__x000A_')),
    'bad : thing\nAt line:1 char:1\n',
  ],
  [
    'warnings with their name',
    block('<S S="warning">hot</S><S S="Error">bad_x000A_</S>'),
    'WARNING: hot\nbad\n',
  ],
  [
    'verbose and debug with theirs',
    block('<S S="verbose">v</S><S S="debug">d</S>'),
    'VERBOSE: v\nDEBUG: d\n',
  ],
  [
    'no progress',
    block('<Obj S="progress" RefId="0"><TN RefId="0"><T>X</T></TN><MS><I64 N="SourceId">1</I64></MS></Obj>'),
    '',
  ],
  [
    'several blocks among other text',
    `one\n${block(error('two_x000A_'))}three\n${block(error('four_x000A_'))}`,
    'one\ntwo\nthree\nfour\n',
  ],
  ['entities, and characters of two units', block(error('a &lt;b&gt; _xD834__xDD1E_ ä')), 'a <b> 𝄞 ä'],
  ['an escaped escape', block(error('_x005F_x000A_')), '_x000A_'],
  ['what is no record as it came', block('<S><I32>1</I32>'), '<S><I32>1</I32>'],
  ['what is no header as it came', '#< CLIXML<!DOCTYPE a></Objs>', '#< CLIXML<!DOCTYPE a></Objs>'],
  ['records alone as they came', error('bad_x000A_'), '<S S="Error">bad_x000A_</S>'],
  [
    'what programs write before, between and behind records',
    `${header}fatal: early\n${begin}${error('one_x000A_')}fatal: a < b && c\n${error('two_x000A_')}late\n</Objs>last\n`,
    'fatal: early\none\nfatal: a < b && c\ntwo\nlate\nlast\n',
  ],
  [
    'a warning on a line of its own',
    `${header}50 %${begin}<S S="warning">hot</S></Objs>`,
    '50 %\nWARNING: hot\n',
  ],
  [
    'the errors of a PowerShell that one starts',
    `${header}${begin}${error('outer_x000A_')}${block(error('inner_x000A_'))}${error('outer_x000A_')}</Objs>`,
    'outer\ninner\nouter\n',
  ],
  [
    'no progress that holds objects, or that is cut',
    `${header}${begin}<Obj S="progress" RefId="0"><MS><Obj N="a" RefId="1" /><Obj N="b" RefId="2"><S>x</S></Obj></MS></Obj>${error('bad_x000A_')}<Obj S="progress" RefId="3"><MS>`,
    'bad\n',
  ],
  ['the errors of one that was ended', `${header}${begin}${error('bad_x000A_')}<S S="Error">wor`, 'bad\nwor'],
  [
    'a cut entity, and what is none, as it came',
    block(error('a &lt &#x110000; &amp;lt; b')),
    'a &lt &#x110000; &lt; b',
  ],
] as const)('gives %s, however it is parted', (_, text, told) => {
  for (const size of [1, 3, 7, 1 << 20]) expect(decode(text, size)).toBe(told);
});

test('what comes before a block is told at once', () => {
  const decoder = new ClixmlDecoder();
  expect(decoder.write(Buffer.from('now #'))).toBe('now ');
  expect(decoder.write(Buffer.from('1\n'))).toBe('#1\n');
});

test('a record is told when it has come, while the block is open', () => {
  const decoder = new ClixmlDecoder();
  expect(decoder.write(Buffer.from(`${header}${begin}${error('bad_x000A_')}`))).toBe('bad\n');
  expect(decoder.write(Buffer.from('of a program\n'))).toBe('of a program\n');
  expect(decoder.write(Buffer.from(error('worse_x000A_')))).toBe('worse\n');
});

test('a record that grows without end is given as it is, and those behind it as text', () => {
  for (const tag of ['<S S="Error">', '<Obj S="progress" RefId="0">']) {
    const decoder = new ClixmlDecoder();
    decoder.write(Buffer.from(`${header}${begin}${tag}`));
    expect(decoder.write(Buffer.alloc(1_100_000, 'x'))).toHaveLength(tag.length + 1_100_000);
    expect(decoder.write(Buffer.from(error('bad_x000A_')))).toBe('bad\n');
  }
});

test('errors beyond any bound are all text', () => {
  const line = 'x'.repeat(200);
  const told = decode(block(error(`${line}_x000A_`).repeat(10_000)), 5_000);
  expect(told.length).toBe(10_000 * (line.length + 1));
  expect(told === `${line}\n`.repeat(10_000)).toBe(true);
});

test.each([
  ['a record', `<S S="Error">${'<'.repeat(1_000_000)}`],
  ['an object', `<Obj S="progress">${'<Obj '.repeat(200_000)}`],
  ['a tag', `<Obj ${' '.repeat(1_000_000)}`],
  ['no record', '<'.repeat(1_000_000)],
])('a host that prints %s without end in the smallest pieces holds nobody up', (_, text) => {
  const decoder = new ClixmlDecoder();
  const before = process.cpuUsage();
  decoder.write(Buffer.from(`${header}${begin}${text}`));
  for (const piece of ['AAA', '<S ', '<Ob']) {
    for (let count = 0; count < 5_000; count += 1) decoder.write(Buffer.from(piece));
  }
  decoder.end();
  expect(process.cpuUsage(before).user).toBeLessThan(2_000_000);
});

test('no bytes of chance break it or are lost without a block', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 5 }), (text, size) => {
      if (!text.includes('#< CLIXML')) expect(decode(text, size)).toBe(text.replace(/^\ufeff/, ''));
    }),
  );
  expect(unescapeClixml('_x00G0_ _x41_ _x0041_')).toBe('_x00G0_ _x41_ A');
});
