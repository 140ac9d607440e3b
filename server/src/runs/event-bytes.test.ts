import { expect, test } from 'vitest';
import { base64Bytes, EventBytes } from './event-bytes.ts';

const bytes = Uint8Array.from({ length: 70_001 }, (_, n) => n % 251);

test('texts and base64 are one after the other, whatever is in them', () => {
  const events = new EventBytes();
  expect(events.isEmpty).toBe(true);
  events.add('data: “ä€😀” ');
  events.addShared(base64Bytes(bytes.subarray(1)));
  events.add('\n\n');
  const whole = Buffer.concat(events.toPieces());
  expect(whole.toString('utf8')).toBe(
    `data: “ä€😀” ${Buffer.from(bytes.subarray(1)).toString('base64')}\n\n`,
  );
  expect(events.isEmpty).toBe(false);
});

test('a long chunk is the same memory for all readers, short ones make one piece with what is around them', () => {
  const [long, short] = [base64Bytes(bytes), base64Bytes(bytes.subarray(0, 1_000))];
  const readers = [new EventBytes(), new EventBytes()];
  for (const events of readers) {
    events.add('a');
    events.addShared(short);
    events.add('b');
    events.addShared(long);
    events.add('c');
  }
  for (const events of readers) {
    const pieces = events.toPieces();
    expect(pieces).toHaveLength(3);
    expect(pieces[1]).toBe(long);
  }
});
