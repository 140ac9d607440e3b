import { expect, test } from 'vitest';
import { EventBytes } from './event-bytes.ts';

test('texts and base64 are one after the other, whatever is in them', () => {
  const events = new EventBytes();
  expect(events.isEmpty).toBe(true);
  const bytes = Uint8Array.from({ length: 70_001 }, (_, n) => n % 251);
  events.add('data: “ä€😀” ');
  events.addBase64(bytes.subarray(1));
  events.add('\n\n');
  const base64 = Buffer.from(bytes.subarray(1)).toString('base64');
  expect(events.toBuffer().toString('utf8')).toBe(`data: “ä€😀” ${base64}\n\n`);
  expect(events.isEmpty).toBe(false);
});
