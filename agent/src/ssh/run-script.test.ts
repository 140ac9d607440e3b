import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { runScript } from './run-script.ts';

/** Runs a script on a target whose answer is emitted by `answer`. */
function said(answer: (channel: EventEmitter) => void): Promise<string> {
  const channel = Object.assign(new EventEmitter(), {
    stderr: new PassThrough(),
    close: () => {},
    end: () => {
      answer(channel);
      channel.emit('close', 0);
    },
  });
  const pool = { open: async () => ({ channel, release: () => {} }) };
  const request = { target: { host: 'web-1' } };
  const target = { pool, request, scriptTimeoutMs: 5_000, giveUpAfterMs: 5_000 };
  return runScript(target as never, 'true');
}

test('an answer in single bytes is copied, so that no packet of it stays in memory', async () => {
  const packet = Buffer.alloc(64);
  const answer = await said((channel) => {
    for (const letter of 'pid 17\n') {
      packet.write(letter, 9);
      channel.emit('data', packet.subarray(9, 10));
    }
  });
  expect(answer).toBe('pid 17\n');
});

test('of an answer that is too long only the beginning is kept, without a gap', async () => {
  const mib = Buffer.alloc(1024 * 1024, 'a');
  const answer = await said((channel) => {
    for (let n = 0; n < 15; n += 1) channel.emit('data', mib);
    channel.emit('data', Buffer.concat([mib, mib]));
    channel.emit('data', Buffer.from('after the gap'));
  });
  expect(answer.length).toBe(15 * mib.length);
  expect(answer).not.toContain('gap');
});
