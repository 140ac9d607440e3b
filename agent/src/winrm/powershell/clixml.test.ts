import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ClixmlDecoder, unescapeClixml } from './clixml.ts';

const header = '#< CLIXML\r\n';
const begin = '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">';
const block = (content: string) => `${header}${begin}${content}</Objs>`;
const error = (text: string) => `<S S="Error">${text}</S>`;

/** As Write-Host has it written. */
const information =
  '<Obj S="information" RefId="0"><TN RefId="0"><T>A.B</T></TN><ToString>hi</ToString><Props><Obj N="Data" RefId="1"><MS><S N="Message">hi_x000A_</S></MS></Obj></Props></Obj>';

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
    'verbose and debug messages with theirs',
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
  ['invalid records unchanged', block('<S><I32>1</I32>'), '<S><I32>1</I32>'],
  ['an invalid header unchanged', '#< CLIXML<!DOCTYPE a></Objs>', '#< CLIXML<!DOCTYPE a></Objs>'],
  ['records without a header unchanged', error('bad_x000A_'), '<S S="Error">bad_x000A_</S>'],
  [
    'what programs write before, between and after records',
    `${header}fatal: early\n${begin}${error('one_x000A_')}fatal: a < b && c\n${error('two_x000A_')}late\n</Objs>last\n`,
    'fatal: early\none\nfatal: a < b && c\ntwo\nlate\nlast\n',
  ],
  [
    'a warning on a line of its own',
    `${header}50 %${begin}<S S="warning">hot</S></Objs>`,
    '50 %\nWARNING: hot\n',
  ],
  [
    'the errors of a PowerShell started by another',
    `${header}${begin}${error('outer_x000A_')}${block(error('inner_x000A_'))}${error('outer_x000A_')}</Objs>`,
    'outer\ninner\nouter\n',
  ],
  [
    'no progress that holds objects, or that is cut',
    `${header}${begin}<Obj S="progress" RefId="0"><MS><Obj N="a" RefId="1" /><Obj N="b" RefId="2"><S>x</S></Obj></MS></Obj>${error('bad_x000A_')}<Obj S="progress" RefId="3"><MS>`,
    'bad\n',
  ],
  [
    'nothing of an object that was cut',
    `${header}${begin}${error('bad_x000A_')}${information.slice(0, 120)}`,
    'bad\n',
  ],
  [
    'what a program writes inside an object',
    `${header}${begin}${information.slice(0, 31)}fatal: x\nhint: a < b\r\n\n${information.slice(31)}${error('bad_x000A_')}`,
    'fatal: x\nhint: a < b\r\n\nbad\n',
  ],
  [
    'what a program writes inside a text of an object, with the part of that text that had arrived',
    `${header}${begin}<Obj S="information" RefId="0"><ToString>hel` +
      `fatal: x\nlo</ToString></Obj>${error('bad_x000A_')}`,
    'helfatal: x\nbad\n',
  ],
  [
    'what a program writes inside the end of an object',
    `${header}${begin}${information.slice(0, -3)}fatal: x\nhint: y\nbj>${error('bad_x000A_')}`,
    'fatal: x\nhint: y\nbad\n',
  ],
  [
    'what a program writes inside the beginning of a record',
    `${header}${begin}${error('one_x000A_')}<S S="Erfatal: x\nhint: y\nror">two_x000A_</S>`,
    'one\nfatal: x\nhint: y\ntwo\n',
  ],
  [
    'what a program writes inside the beginning of an object',
    `${header}${begin}<Obj S="informfatal: x\n${information.slice('<Obj S="inform'.length)}${error('bad_x000A_')}`,
    'fatal: x\nbad\n',
  ],
  [
    'what a program writes inside a record, and inside its end',
    `${header}${begin}<S S="Error">onefatal: x\n_x000A_</fatal: y\nS>${error('two_x000A_')}`,
    'onefatal: x\n\nfatal: y\ntwo\n',
  ],
  [
    'text of a program that is not a tag',
    `${header}${begin}<S S="a\n<S b\n<Obj \n${error('bad_x000A_')}`,
    'a\n<S S="<S b\n\n<Obj bad\n',
  ],
  [
    'the errors of a PowerShell that was ended',
    `${header}${begin}${error('bad_x000A_')}<S S="Error">wor`,
    'bad\nwor',
  ],
  [
    'a cut entity and an invalid one unchanged',
    block(error('a &lt &#x110000; &amp;lt; b')),
    'a &lt &#x110000; &lt; b',
  ],
] as const)('gives %s, however it is split', (_, text, told) => {
  for (const size of [1, 3, 7, 1 << 20]) expect(decode(text, size)).toBe(told);
});

test('text before a block is given out at once', () => {
  const decoder = new ClixmlDecoder();
  expect(decoder.write(Buffer.from('now #'))).toBe('now ');
  expect(decoder.write(Buffer.from('1\n'))).toBe('#1\n');
});

test('a record is given out when it is complete, while the block is open', () => {
  const decoder = new ClixmlDecoder();
  expect(decoder.write(Buffer.from(`${header}${begin}${error('bad_x000A_')}`))).toBe('bad\n');
  expect(decoder.write(Buffer.from('of a program\n'))).toBe('of a program\n');
  expect(decoder.write(Buffer.from(error('worse_x000A_')))).toBe('worse\n');
});

test('a record that grows without end is given out as it is, and those after it as text', () => {
  for (const tag of ['<S S="Error">', '<Obj S="progress" RefId="0">']) {
    const decoder = new ClixmlDecoder();
    decoder.write(Buffer.from(`${header}${begin}${tag}`));
    expect(decoder.write(Buffer.alloc(1_100_000, 'x'))).toHaveLength(tag.length + 1_100_000);
    expect(decoder.write(Buffer.from(error('bad_x000A_')))).toBe('bad\n');
  }
});

test('if a program writes inside an object, none of its text is lost, and none of the object is shown', () => {
  const whole = `${begin}${information}${error('bad_x000A_')}`;
  const from = begin.length + '<Obj '.length;
  for (let at = from; at < begin.length + information.length; at += 1) {
    const told = decode(`${header}${whole.slice(0, at)}! fatal: x\n${whole.slice(at)}`, 7);
    // What had arrived of a text before it, or of a tag's name, can't be distinguished from it.
    expect(told).toMatch(/^[^<>]*<?\w*! fatal: x\nbad\n$/);
  }
});

test('what programs write inside one object may be larger than any record', () => {
  const lines = 'fatal: x\n'.repeat(200_000);
  const text = `${header}${begin}${information.slice(0, 31)}${lines}${information.slice(31)}${error('bad_x000A_')}`;
  expect(decode(text, 5_000) === `${lines}bad\n`).toBe(true);
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
])('a host that prints %s endlessly in the smallest pieces holds nobody up', (_, text) => {
  const decoder = new ClixmlDecoder();
  const before = process.cpuUsage();
  decoder.write(Buffer.from(`${header}${begin}${text}`));
  for (const piece of ['AAA', '<S ', '<Ob', 'A\n', '<S S="\n', '<Obj \n', '</O\n']) {
    for (let count = 0; count < 5_000; count += 1) decoder.write(Buffer.from(piece));
  }
  decoder.end();
  expect(process.cpuUsage(before).user).toBeLessThan(2_000_000);
});

test('no random bytes break it, and none are lost outside of a block', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 5 }), (text, size) => {
      if (!text.includes('#< CLIXML')) expect(decode(text, size)).toBe(text.replace(/^\ufeff/, ''));
    }),
  );
  expect(unescapeClixml('_x00G0_ _x41_ _x0041_')).toBe('_x00G0_ _x41_ A');
});
