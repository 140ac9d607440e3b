import { expect, test } from 'vitest';
import { BodyRoom } from './body-room.ts';

const start = () => new BodyRoom({ maxBytes: 100, maxBytesEach: 60, freeBytes: 10 });
const refused = expect.objectContaining({ code: 'rate_limited', retryAfterS: 1 });

test('one caller’s share leaves room for another, but never more than there is in all', () => {
  const room = start();
  const [ada, again, bob] = [room.share('ada'), room.share('ada'), room.share('bob')];
  ada.take(40);
  again.take(20);
  expect(() => again.take(1)).toThrow(refused);
  bob.take(40);
  expect(() => bob.take(1)).toThrow(refused);
});

test('released room is available again, and only once', () => {
  const room = start();
  const [ada, bob] = [room.share('ada'), room.share('bob')];
  ada.take(30);
  ada.take(30);
  ada.release();
  ada.release();
  room.share('ada').take(60);
  bob.take(40);
  expect(() => bob.take(1)).toThrow(refused);
});
