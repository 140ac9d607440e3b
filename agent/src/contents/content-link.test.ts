import type { AgentMessageOf, ContentRequest } from '@opsconductor/protocol';
import { limits } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { ContentLink } from './content-link.ts';

const attempt = { step: 1, epoch: 1, leaseToken: 'a'.repeat(16) };
const piece: ContentRequest = { do: 'read_file', file: 'f', part: 0 };
const never = new AbortController().signal;
/** Long enough for everything that doesn't wait for something else. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

function setup() {
  const link = new ContentLink();
  const sent: AgentMessageOf<'content'>[] = [];
  const begin = () => link.began((message) => sent.push(message));
  const reply = ({ requestId }: AgentMessageOf<'content'>, data = 'AA==') =>
    link.onReply({ type: 'content_reply', requestId, answer: { data } });
  return { link, sent, begin, reply };
}

test('requests that a lost connection left unanswered are sent again on the next one', async () => {
  const { link, sent, begin, reply } = setup();
  const answer = link.ask(attempt, piece, never);
  await turn();
  expect(sent).toEqual([]);
  begin();
  await turn();
  link.ended();
  begin();
  await turn();
  expect(sent).toHaveLength(2);
  // An answer to a request of the lost connection is ignored.
  for (const message of sent) reply(message);
  expect(await answer).toEqual({ data: 'AA==' });
});

test('no more pieces are asked for than the server accepts, even after one was given up', async () => {
  const { link, sent, begin, reply } = setup();
  begin();
  const stop = new AbortController();
  const given = link.ask(attempt, piece, stop.signal);
  const others = Array.from({ length: limits.maxContentRequests }, () => link.ask(attempt, piece, never));
  await turn();
  expect(sent).toHaveLength(limits.maxContentRequests);
  stop.abort(new Error('cancelled'));
  await expect(given).rejects.toThrow('cancelled');
  await turn();
  expect(sent).toHaveLength(limits.maxContentRequests);
  for (const message of [...sent]) reply(message);
  await turn();
  expect(sent).toHaveLength(limits.maxContentRequests + 1);
  reply(sent.at(-1) as AgentMessageOf<'content'>);
  expect(await Promise.all(others)).toHaveLength(limits.maxContentRequests);
});

test('who waits for others to be answered can give up, and takes no place', async () => {
  const { link, sent, begin, reply } = setup();
  begin();
  const others = Array.from({ length: limits.maxContentRequests }, () => link.ask(attempt, piece, never));
  const stop = new AbortController();
  const given = link.ask(attempt, piece, stop.signal);
  const last = link.ask(attempt, piece, never);
  await turn();
  stop.abort(new Error('cancelled'));
  await expect(given).rejects.toThrow('cancelled');
  for (const message of [...sent]) reply(message);
  await Promise.all(others);
  await turn();
  expect(sent).toHaveLength(limits.maxContentRequests + 1);
  reply(sent.at(-1) as AgentMessageOf<'content'>);
  expect(await last).toEqual({ data: 'AA==' });
});
