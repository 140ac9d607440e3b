import { expect, test } from 'vitest';
import { SaidMessages } from './said-messages.ts';

function setup() {
  const sent: string[] = [];
  const t = { sent, unread: 0, said: undefined as unknown as SaidMessages };
  const socket = {
    OPEN: 1 as const,
    readyState: 1 as 1 | 3,
    bufferedAmount: 0,
    send: (text: unknown) => void sent.push(String(text)),
  };
  t.said = new SaidMessages({
    socket,
    stream: { cork: () => undefined, uncork: () => undefined },
    onUnread: () => {
      t.unread += 1;
      socket.readyState = 3;
    },
  });
  return t;
}

test('what is said before the agent has said what it holds comes after the answer to that', () => {
  const t = setup();
  t.said.say('early');
  expect(t.sent).toEqual([]);
  t.said.begin('resumed');
  t.said.say('later');
  expect(t.sent).toEqual(['resumed', 'early', 'later']);
});

test('an agent that never says what it holds is not kept answers for without end', () => {
  const t = setup();
  const mebibyte = 'x'.repeat(1024 * 1024);
  for (let n = 0; n < 64; n++) t.said.say(mebibyte);
  expect(t.unread).toBe(0);
  t.said.say(mebibyte);
  t.said.say(mebibyte);
  expect(t.unread).toBe(1);
});
