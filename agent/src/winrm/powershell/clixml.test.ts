import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ClixmlDecoder, unescapeClixml } from './clixml.ts';

const block = (content: string) =>
  `#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">${content}</Objs>`;
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
  ['a block that is no XML as it came', '#< CLIXML\r\n<Objs><S></Objs>', '#< CLIXML\r\n<Objs><S></Objs>'],
  ['a block that has no end as it came', '#< CLIXML\r\n<Objs Version', '#< CLIXML\r\n<Objs Version'],
  ['a block with a document type as it came', '#< CLIXML<!DOCTYPE a></Objs>', '#< CLIXML<!DOCTYPE a></Objs>'],
] as const)('gives %s, however it is parted', (_, text, told) => {
  for (const size of [1, 3, 7, 1 << 20]) expect(decode(text, size)).toBe(told);
});

test('what comes before a block is told at once', () => {
  const decoder = new ClixmlDecoder();
  expect(decoder.write(Buffer.from('now #'))).toBe('now ');
  expect(decoder.write(Buffer.from('1\n'))).toBe('#1\n');
});

test('a block that grows without end is given up on', () => {
  const decoder = new ClixmlDecoder();
  decoder.write(Buffer.from('#< CLIXML\r\n<Objs>'));
  expect(decoder.write(Buffer.alloc(1_100_000, 'x')).length).toBeGreaterThan(1_000_000);
});

test('no bytes of chance break it or are lost without a block', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 5 }), (text, size) => {
      if (!text.includes('#< CLIXML')) expect(decode(text, size)).toBe(text.replace(/^\ufeff/, ''));
    }),
  );
  expect(unescapeClixml('_x00G0_ _x41_ _x0041_')).toBe('_x00G0_ _x41_ A');
});
