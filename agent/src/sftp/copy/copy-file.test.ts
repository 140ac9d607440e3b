// Faults at each stage of copying a file, with sides that are kept in memory. Faults of real servers and disks are
// tested in steps/sftp/sftp-faults.test.ts.
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { temporaryName, temporaryPrefix } from '../tree/temporary-name.ts';
import { TransferError, type TransferReason } from '../tree/transfer-error.ts';
import type { Directory, Sink, Source } from '../tree/tree.ts';
import { ChunkBuffers, chunkBytes } from './chunk-buffers.ts';
import { type Conduct, copyFile } from './copy-file.ts';

const stages = [
  'open source',
  'open sink',
  'space',
  'read',
  'write',
  'look again',
  'hash',
  'commit',
] as const;
type Stage = (typeof stages)[number];
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const fault = (reason: TransferReason) =>
  new TransferError({ reason, message: reason, advice: 'Mend it.', retryable: reason === 'transfer_cut' });
/** Large enough to be resumed, although the last chunks of an interrupted file are not counted. */
const content = Buffer.alloc(24 * chunkBytes + 17, 'what is copied, again and again');

/** A side that fails at the stages that it is told to. */
class Side {
  readonly files = new Map<string, Buffer>();
  fails: { stage: Stage; reason: TransferReason; times: number } | undefined;
  moved = 0;

  at(stage: Stage): void {
    if (this.fails?.stage !== stage || this.fails.times === 0) return;
    this.fails.times -= 1;
    throw fault(this.fails.reason);
  }

  directory(): Directory {
    const own = {
      path: '/side',
      openSource: async (name: string) => this.#source(name),
      openSink: async (name: string, { resumeKey }: { resumeKey?: string }) => this.#sink(name, resumeKey),
      freeBytes: async () => {
        this.at('space');
        return undefined;
      },
    };
    return own as unknown as Directory;
  }

  #source(name: string): Source {
    this.at('open source');
    const bytes = this.files.get(name) ?? Buffer.alloc(0);
    return {
      size: bytes.length,
      mode: 0o644,
      mtimeS: 1,
      read: async (buffer, length, position) => {
        this.at('read');
        return bytes.copy(buffer, 0, position, position + length);
      },
      hash: async (length) => sha256(bytes.subarray(0, length)),
      hasChanged: async () => {
        this.at('look again');
        return false;
      },
      close: async () => {},
    };
  }

  #sink(name: string, resumeKey: string | undefined): Sink {
    this.at('open sink');
    const temporary = temporaryName(resumeKey);
    const keptBytes = this.files.get(temporary)?.length ?? 0;
    const written = Buffer.alloc(content.length);
    this.files.get(temporary)?.copy(written);
    this.files.set(temporary, written.subarray(0, keptBytes));
    return {
      keptBytes,
      write: async (buffer, length, position) => {
        // By then most of the file is there.
        if (position > 20 * chunkBytes) this.at('write');
        buffer.copy(written, position, 0, length);
        const before = this.files.get(temporary)?.length ?? 0;
        this.files.set(temporary, written.subarray(0, Math.max(before, position + length)));
        this.moved += length;
      },
      hash: async (length) => {
        this.at('hash');
        return sha256((this.files.get(temporary) ?? Buffer.alloc(0)).subarray(0, length));
      },
      commit: async (_, size) => {
        this.at('commit');
        this.files.set(name, (this.files.get(temporary) ?? Buffer.alloc(0)).subarray(0, size));
        this.files.delete(temporary);
      },
      discard: async (keep) => {
        if (!keep) this.files.delete(temporary);
      },
    };
  }
}

const conduct: Conduct = {
  buffers: new ChunkBuffers({ partOf: ({ most }) => most }),
  rateLimit: undefined,
  signal: new AbortController().signal,
  verify: 'checksum',
  resume: true,
  retries: 0,
  ends: 'test',
  looksAt: () => undefined,
  moved: () => {},
  found: () => {},
  unfinished: new Map(),
};

function setup(fails: NonNullable<Side['fails']>) {
  const side = new Side();
  side.files.set('from', content);
  side.files.set('to', Buffer.from('old'));
  side.fails = fails;
  const ends = { from: side.directory(), fromName: 'from', to: side.directory(), toName: 'to' };
  return { side, copy: { ...ends, attributes: () => ({}) } };
}

function unfinished(side: Side): string[] {
  return [...side.files.keys()].filter((name) => name.startsWith(temporaryPrefix));
}

function expectWhole(side: Side): void {
  expect(sha256(side.files.get('to') ?? Buffer.alloc(0))).toBe(sha256(content));
  expect(unfinished(side)).toEqual([]);
}

test.each(stages)(
  'a fault at the stage "%s" leaves the old file, and the next copy is complete',
  async (stage) => {
    const { side, copy } = setup({ stage, reason: 'no_space', times: 1 });
    await expect(copyFile(copy, conduct)).rejects.toMatchObject({ reason: 'no_space' });
    expect(side.files.get('to')?.toString()).toBe('old');
    side.moved = 0;
    expect(await copyFile(copy, conduct)).toMatchObject({ size: content.length, movedBytes: side.moved });
    expectWhole(side);
    // The good part is not sent again, even if the file was complete and could only not be checked any more.
    if (['write', 'look again', 'hash'].includes(stage)) expect(side.moved).toBeLessThan(content.length);
  },
);

test.each<TransferReason>(['file_changed', 'checksum_mismatch'])(
  'a copy that ended with %s is not resumed',
  async (reason) => {
    const { side, copy } = setup({ stage: 'look again', reason, times: 1 });
    await expect(copyFile(copy, conduct)).rejects.toMatchObject({ reason });
    expect(unfinished(side)).toEqual([]);
  },
);

test('of a file that took several tries, all its bytes are told, those that were sent again once', async () => {
  const { side, copy } = setup({ stage: 'write', reason: 'transfer_cut', times: 1 });
  let told = 0;
  const most: number[] = [];
  const counted = {
    ...conduct,
    retries: 1,
    moved: (bytes: number) => {
      told += bytes;
      most.push(told);
    },
    found: (bytes: number) => {
      told += bytes;
    },
  };
  expect(await copyFile(copy, counted)).toMatchObject({ size: content.length, movedBytes: content.length });
  expectWhole(side);
  expect(side.moved).toBeGreaterThan(content.length);
  expect(side.moved).toBeLessThan(2 * content.length);
  expect(told).toBe(content.length);
  expect(Math.max(...most)).toBe(content.length);
});

test('what an earlier transfer left is progress from the beginning, but was not moved', async () => {
  const { side, copy } = setup({ stage: 'look again', reason: 'no_space', times: 1 });
  await expect(copyFile(copy, conduct)).rejects.toMatchObject({ reason: 'no_space' });
  side.moved = 0;
  let found = 0;
  const counted = { ...conduct, found: (bytes: number) => (found += bytes) };
  const { movedBytes } = await copyFile(copy, counted);
  expect(movedBytes).toBe(side.moved);
  expect(found).toBe(content.length - side.moved);
});

test('a lost connection is retried, but only as often as allowed', async () => {
  const twice = setup({ stage: 'commit', reason: 'transfer_cut', times: 2 });
  await expect(copyFile(twice.copy, { ...conduct, retries: 1 })).rejects.toMatchObject({
    reason: 'transfer_cut',
  });
  const once = setup({ stage: 'commit', reason: 'transfer_cut', times: 1 });
  await copyFile(once.copy, { ...conduct, retries: 1 });
  expectWhole(once.side);
});
