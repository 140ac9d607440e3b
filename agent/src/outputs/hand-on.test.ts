import type { StepOutput } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { Masking } from '../masking/masking.ts';
import { PatternSet } from '../masking/pattern-set.ts';
import { textPatterns } from '../masking/secret-patterns.ts';
import { type HandOnOptions, handOn } from './hand-on.ts';

const whole = (bytes: Buffer | string) => ({ bytes: Buffer.from(bytes), isWhole: true, isCut: false });

function find(
  outputs: Record<string, StepOutput>,
  more: Partial<HandOnOptions> & { stdout?: Buffer | string } = {},
) {
  const { stdout = '', ...options } = more;
  return handOn({
    outputs,
    endOf: async (stream) => whole(stream === 'stdout' ? stdout : 'on stderr'),
    file: async () => Buffer.from(''),
    secrets: Masking.of(new PatternSet([])),
    seal: async (name) => ({ id: `sealed ${name}` }),
    ...options,
  });
}

const missingOf = async (...all: Parameters<typeof find>) => {
  const handing = await find(...all);
  return 'missing' in handing ? handing.missing : handing.handsOn;
};

test('bytes that are not UTF-8 are skipped, but refused in a value', async () => {
  const stdout = Buffer.concat([
    Buffer.from('noise \xff\n', 'latin1'),
    Buffer.from('id=ü\nbad=\xfe\n', 'latin1'),
  ]);
  expect(await missingOf({ bad: { pattern: 'bad=(.*)' } }, { stdout })).toEqual([
    'bad: its value has bytes that are not UTF-8',
  ]);
  const mixed = Buffer.concat([Buffer.from([0xff]), Buffer.from('\nid=ü\r\n')]);
  expect(await find({ id: { pattern: 'id=(.*)$' } }, { stdout: mixed })).toEqual({
    handsOn: { id: { value: 'ü' } },
  });
  expect(await missingOf({ a: { json: '/a' } }, { stdout: Buffer.from('{"a":"\xff"}', 'latin1') })).toEqual([
    'a: standard output is not UTF-8',
  ]);
});

test('a value that is too long, has a NUL or half a character is refused, whatever the default', async () => {
  const outputs = { a: { json: '/a', default: 'd' } };
  const value = (a: string) => ({ stdout: `{"a":${a}}` });
  expect(await missingOf(outputs, value(`"${'x'.repeat(16_385)}"`))).toEqual([
    'a: its value is longer than 16384 characters',
  ]);
  expect(await missingOf(outputs, value('"a\\u0000b"'))).toEqual(['a: its value contains a NUL character']);
  expect(await missingOf(outputs, value('"\\ud800"'))).toEqual([
    'a: its value contains half of a surrogate pair',
  ]);
  expect(await missingOf(outputs, value('null'))).toEqual({ a: { value: 'd' } });
});

test('there is a limit on all values together', async () => {
  const outputs = Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`o${n}`, { json: '/a' }]));
  expect(await missingOf(outputs, { stdout: `{"a":"${'x'.repeat(16_000)}"}` })).toEqual([
    'together they are longer than 128 KiB',
  ]);
});

test('secrets are masked in outputs that are not secret, even one that was only just found', async () => {
  const handing = await find(
    { token: { file: true, secret: true }, url: { file: true }, old: { pattern: 'was (.*)' } },
    {
      stdout: 'was open-sesame',
      file: async () =>
        Buffer.from('token=brand-new-secret\nurl=https://x/?t=brand-new-secret&u=open-sesame\n'),
      secrets: Masking.of(new PatternSet(textPatterns('open-sesame'))),
    },
  );
  expect(handing).toEqual({
    handsOn: {
      token: { id: 'sealed token' },
      url: { value: 'https://x/?t=********&u=********' },
      old: { value: '********' },
    },
  });
});

test('if nothing is found in a stream that was cut, the message says that it was cut', async () => {
  const endOf = async () => ({ ...whole('{}'), isWhole: false, isCut: true });
  expect(await missingOf({ a: { pattern: 'x' }, b: { json: '' } }, { endOf })).toEqual([
    'a: its pattern is not in the last 1 KiB; the output was cut',
    'b: standard output is longer than the 1024 KiB that are read as JSON',
  ]);
});

test('a file that can not be read is reported once for each output, never with its contents', async () => {
  const file = async () => Buffer.from('hunter2 is the password');
  expect(await missingOf({ a: { file: true } }, { file })).toEqual([
    'a: line 1 is neither `name=value` nor `name<<END` in the file OPSCONDUCTOR_OUTPUT',
  ]);
});
