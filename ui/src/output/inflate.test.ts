import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { inflateChunk, UnreadableChunk } from './inflate.ts';

const pack = (text: string) => gzipSync(Buffer.from(text)).toString('base64');

describe('an output chunk', () => {
  it('inflates to its bytes', async () => {
    expect(Buffer.from(await inflateChunk(pack('größe\n'), 8)).toString()).toBe('größe\n');
  });

  it('is refused when it inflates to more than it states, and nothing beyond that is held', async () => {
    await expect(inflateChunk(pack('x'.repeat(50_000_000)), 1000)).rejects.toThrow(
      /more than the 1000 bytes/,
    );
  });

  it('is refused when it is shorter than stated, not gzip, or not base64', async () => {
    await expect(inflateChunk(pack('short'), 6)).rejects.toThrow(/5 bytes, it states 6/);
    await expect(inflateChunk(Buffer.from('plain').toString('base64'), 5)).rejects.toThrow(UnreadableChunk);
    await expect(inflateChunk('%%%', 5)).rejects.toThrow(/base64/);
  });
});
