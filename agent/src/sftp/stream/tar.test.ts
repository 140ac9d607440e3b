import { spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { blockBytes, endBlocks, paddingOf, type TarHeader, writeHeader } from './tar-header.ts';
import { BadTarStream, type TarMember, TarReader } from './tar-reader.ts';

const names = [
  'a',
  'd/b',
  `long-${'x'.repeat(200)}`,
  'line\nend',
  ' ',
  "it's \\n",
  '\u00e9',
  'z'.repeat(100),
];
const contentOf = (name: string) => Buffer.from(name.repeat(name.length));

function setup() {
  const dir = mkdtempSync(join(tmpdir(), 'opsconductor-tar-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  return dir;
}

function reader(more: { maxMemberBytes?: number; maxBytes?: number; recordBytes?: number } = {}) {
  const members: TarMember[] = [];
  const read = new TarReader({
    maxMemberBytes: 100_000,
    recordBytes: blockBytes,
    maxBytes: 1_000_000,
    ...more,
    onMember: (member) => members.push(member),
  });
  return { read, members };
}

function member(header: Partial<TarHeader> = {}, bytes = Buffer.alloc(0)): Buffer {
  const whole = { name: Buffer.from('f'), size: bytes.length, mode: 0o644, mtimeS: 1_700_000_000, ...header };
  return Buffer.concat([writeHeader(whole), bytes, Buffer.alloc(paddingOf(bytes.length))]);
}

/** Returns a header of another type, with a correct checksum. */
function typed(type: string): Buffer {
  const block = member();
  const sum = Number.parseInt(block.toString('latin1', 148, 155), 8) - 0x30 + type.charCodeAt(0);
  block.write(type, 156, 'latin1');
  block.write(sum.toString(8).padStart(7, '0'), 148, 'latin1');
  return block;
}

test('tar unpacks what was written, with its names, modes and times', () => {
  const dir = setup();
  const parts = names.map((name) => member({ name: Buffer.from(name), mode: 0o640 }, contentOf(name)));
  const { status } = spawnSync('tar', ['-x', '-p', '-f', '-', '-C', dir], {
    input: Buffer.concat([...parts, endBlocks]),
  });
  expect(status).toBe(0);
  for (const name of names) {
    expect(readFileSync(join(dir, name))).toEqual(contentOf(name));
    expect(lstatSync(join(dir, name))).toMatchObject({ mode: 0o100640, mtimeMs: 1_700_000_000_000 });
  }
});

const pieces = [1, 7, 511, 512, 4_096, 1_000_000];
test.each(pieces.flatMap((bytes) => [1, 64].map((blocks) => [bytes, blocks] as const)))(
  'archives of tar are read in pieces of %i bytes, from records of %i blocks',
  (pieceBytes, recordBlocks) => {
    const dir = setup();
    mkdirSync(join(dir, 'd'));
    for (const name of names) {
      writeFileSync(join(dir, name), contentOf(name), { mode: 0o600 });
      utimesSync(join(dir, name), 1_600_000_000, 1_600_000_000);
    }
    const packed = spawnSync('tar', [
      '-c',
      '-f',
      '-',
      '-b',
      String(recordBlocks),
      '--format=gnu',
      '--no-unquote',
      '-C',
      dir,
      '--',
      ...names,
    ]);
    const { read, members } = reader({ recordBytes: recordBlocks * blockBytes });
    const stream = Buffer.concat([packed.stdout, Buffer.from('what follows')]);
    let rest: Buffer | undefined;
    for (let at = 0; at < stream.length; at += pieceBytes) {
      const piece = stream.subarray(at, at + pieceBytes);
      rest = rest === undefined ? read.push(piece) : Buffer.concat([rest, piece]);
    }
    expect(rest?.toString()).toBe('what follows');
    expect(members.map(({ name }) => name.toString())).toEqual(names);
    for (const [n, each] of members.entries()) {
      expect(each).toMatchObject({ type: '0', mode: 0o600, mtimeS: 1_600_000_000 });
      expect(each.bytes).toEqual(contentOf(names[n] ?? ''));
    }
  },
);

test('members of other types are reported with their types', () => {
  const { read, members } = reader();
  for (const type of ['1', '2', '3', '5', '6']) read.push(typed(type));
  expect(members.map(({ type }) => type)).toEqual(['1', '2', '3', '5', '6']);
});

test.each([
  ['a member that is too large', member({ size: 100_001 })],
  ['a number that goes beyond all files', member({ size: 8 ** 11 - 1 })],
  ['a long name that is too long', typed('L').fill('7', 124, 135)],
  ['a checksum that is wrong', member().fill('x', 0, 1)],
  ['no tar at all', Buffer.alloc(blockBytes, 'hello ')],
  ['a member behind the end', Buffer.concat([Buffer.alloc(blockBytes), member()])],
])('%s ends the reading', (_, bytes) => {
  expect(() => reader().read.push(bytes)).toThrow(BadTarStream);
});

test('more members than were asked for end the reading', () => {
  const { read } = reader({ maxBytes: 10 * blockBytes });
  const flood = () => {
    for (let n = 0; n < 11; n += 1) read.push(member());
  };
  expect(flood).toThrow(BadTarStream);
});
