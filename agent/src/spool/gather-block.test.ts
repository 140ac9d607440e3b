import { limits } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { GatherBlock } from './gather-block.ts';

test('a block takes as many bytes as its capacity, and says how many', () => {
  const block = new GatherBlock(5);
  expect(block.append(Buffer.from('abc'))).toBe(3);
  expect(block.isFull).toBe(false);
  expect(block.append(Buffer.from('defg'))).toBe(2);
  expect(block.isFull).toBe(true);
  expect(block.gathered.toString()).toBe('abcde');
  block.release();
});

test('a capacity that is not a whole number is rounded down, but never to zero', () => {
  const block = new GatherBlock(2.5);
  expect(block.append(Buffer.from('abc'))).toBe(2);
  expect(block.isFull).toBe(true);
  block.release();
  const least = new GatherBlock(0.5);
  expect(least.append(Buffer.from('abc'))).toBe(1);
  expect(least.isFull).toBe(true);
  least.release();
});

test('no block is larger than a chunk', () => {
  const block = new GatherBlock(limits.maxChunkRawBytes * 2);
  expect(block.append(Buffer.alloc(limits.maxChunkRawBytes + 1))).toBe(limits.maxChunkRawBytes);
  block.release();
});

test('memory is reused only after it was released', () => {
  const first = new GatherBlock();
  const second = new GatherBlock();
  expect(second.gathered.buffer).not.toBe(first.gathered.buffer);
  first.release();
  const third = new GatherBlock();
  expect(third.gathered.buffer).toBe(first.gathered.buffer);
  expect(third.length).toBe(0);
  second.release();
  third.release();
});
