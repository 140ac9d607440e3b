import { expect, test } from 'vitest';
import { bodyBytes, chunkBody, EventBytes } from './event-bytes.ts';

const long = Uint8Array.from({ length: 70_001 }, (_, n) => n % 251);
const short = long.subarray(1, 1_000);

test('texts and base64 follow one another, whatever they contain', () => {
  const events = new EventBytes();
  expect(events.isEmpty).toBe(true);
  events.add('data: “ä€😀” ');
  events.addBody(chunkBody(short));
  events.add('\n\n');
  events.addBody(chunkBody(long));
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  expect(Buffer.concat(events.toPieces()).toString('utf8')).toBe(
    `data: “ä€😀” ${base64(short)}\n\n${base64(long)}`,
  );
  expect(events.isEmpty).toBe(false);
});

test('a long chunk shares its memory between all readers; short ones are joined with the text around them', () => {
  const bodies = [chunkBody(short), chunkBody(long)] as const;
  const pieces = [new EventBytes(), new EventBytes()].map((events) => {
    events.add('a');
    events.addBody(bodies[0]);
    events.add('b');
    events.addBody(bodies[1]);
    events.add('c');
    return events.toPieces();
  });
  expect(pieces.map(({ length }) => length)).toEqual([3, 3]);
  expect(pieces[0]?.[1]).toBe(pieces[1]?.[1]);
  expect(pieces[0]?.[1]).toHaveLength(bodyBytes(bodies[1]));
});
