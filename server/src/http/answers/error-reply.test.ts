import { expect, test } from 'vitest';
import { createLog } from '../../log.ts';
import { DatabaseLost } from '../../store/database/database-lost.ts';
import { errorReply } from './error-reply.ts';

function setup() {
  const logged: string[] = [];
  const log = createLog({ level: 'info', plain: false, destination: { write: (line) => logged.push(line) } });
  return { logged, reply: (error: unknown) => errorReply(error, 'r1', log) };
}

test('a lost database is answered 503 with when to try again, and is logged', async () => {
  const t = setup();
  const reply = t.reply(new DatabaseLost());
  expect([reply.status, reply.headers.get('Retry-After')]).toEqual([503, '1']);
  expect(await reply.json()).toMatchObject({ error: { code: 'unavailable', requestId: 'r1' } });
  expect(t.logged).toHaveLength(1);
});

test('a full disk of the database is answered 503 and named', async () => {
  const t = setup();
  const reply = t.reply(Object.assign(new Error('could not extend file'), { code: '53100' }));
  expect([reply.status, reply.headers.get('Retry-After')]).toEqual([503, '10']);
  expect(await reply.text()).toContain('The disk of the database is full');
});

test('a wait for another change that took too long is answered 503 and named', async () => {
  const t = setup();
  const reply = t.reply(
    Object.assign(new Error('canceling statement due to lock timeout'), { code: '55P03' }),
  );
  expect([reply.status, reply.headers.get('Retry-After')]).toEqual([503, '5']);
  expect(await reply.text()).toContain('Another change is still under way');
  expect(t.logged).toHaveLength(1);
});

test('a statement that a time limit of the role or an operator ended is answered 503 and named', async () => {
  const t = setup();
  const reply = t.reply(
    Object.assign(new Error('canceling statement due to statement timeout'), { code: '57014' }),
  );
  expect([reply.status, reply.headers.get('Retry-After')]).toEqual([503, '5']);
  expect(await reply.text()).toContain('The database took too long, and ended this.');
  expect(t.logged.join()).toContain('statement_timeout');
});

test('an unexpected error is answered 500 without any details', async () => {
  const t = setup();
  const reply = t.reply(new Error('secret'));
  expect(reply.status).toBe(500);
  expect(await reply.text()).not.toContain('secret');
  expect(t.logged.join()).toContain('secret');
});
