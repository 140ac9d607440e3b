// How much of the body room requests take while their bodies are being read.
import { limits } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { Authority } from '../../auth/authority.ts';
import { RequestLimits } from '../request-limits.ts';
import type { BodyShare } from './body-room.ts';
import { readRequestBody } from './read-body.ts';

const kib = 1024;

/** Sends a request whose body announces `told` bytes; the promise resolves once `sent` bytes have arrived. */
async function send(room: BodyShare, told: number, sent: number) {
  let come = () => {};
  const hasCome = new Promise<void>((resolve) => {
    come = resolve;
  });
  let end = () => {};
  const rest = new Promise<void>((resolve) => {
    end = resolve;
  });
  let toSend = sent;
  const body = new ReadableStream<Uint8Array>(
    {
      // Called again only after the previous piece was read, because nothing is buffered.
      async pull(controller) {
        if (toSend > 0) {
          controller.enqueue(Buffer.from('{}'.padEnd(toSend)));
          toSend = 0;
          return;
        }
        come();
        await rest;
        controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  const request = new Request('http://x/', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Content-Length': String(told) },
    body,
    duplex: 'half',
  } as RequestInit);
  const answer = readRequestBody(request, { maxBytes: limits.maxInventoryBytes, takesYaml: false, room });
  await Promise.race([hasCome, answer]);
  return { answer, end };
}

function setup() {
  const requests = new RequestLimits(() => new Date(0));
  const caller = (userId: number) =>
    requests.shareOfBodies(
      { userId, name: 'x', authority: new Authority([]), via: 'session', viaId: 1 },
      '192.0.2.1',
    );
  return { stranger: (address: string) => requests.shareOfBodies(undefined, address), caller };
}

test('bodies that are announced but never arrive keep nobody from signing in', async () => {
  const { stranger } = setup();
  for (let n = 0; n < 100; n++) await send(stranger(`192.0.2.${n % 4}`), 16 * kib, 0);
  const { answer, end } = await send(stranger('192.0.2.1'), 16 * kib, 16 * kib);
  end();
  expect(await answer).toEqual({ value: {} });
});

test('an unknown caller who does send fills only the share of their own address', async () => {
  const { stranger } = setup();
  for (let n = 0; n < 16; n++) await send(stranger(`2001:db8::${n}`), 16 * kib, 16 * kib);
  await expect(send(stranger('2001:db8::ffff'), 16 * kib, 1)).rejects.toMatchObject({ code: 'rate_limited' });
  const other = await send(stranger('2001:db8:0:1::1'), 16 * kib, 16 * kib);
  other.end();
  expect(await other.answer).toEqual({ value: {} });
});

test('a caller who sends the largest inventory can do everything else meanwhile', async () => {
  const { caller } = setup();
  await send(caller(1), limits.maxInventoryBytes, limits.maxInventoryBytes);
  const beside = await send(caller(1), limits.maxRequestBodyBytes, limits.maxRequestBodyBytes);
  beside.end();
  expect(await beside.answer).toEqual({ value: {} });
});

test('if the room is full, small bodies such as that of a cancel are still read', async () => {
  const { caller } = setup();
  for (const userId of [1, 2, 3]) caller(userId).take(32 * kib * kib);
  await expect(send(caller(4), 17 * kib, 17 * kib)).rejects.toMatchObject({ code: 'rate_limited' });
  const cancel = await send(caller(4), 2, 2);
  cancel.end();
  expect(await cancel.answer).toEqual({ value: {} });
});
