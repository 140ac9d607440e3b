import { expect, test } from 'vitest';
import { DatabaseLost, isDatabaseLost } from './database-lost.ts';

test.each([
  [
    'a reset connection',
    new DatabaseLost(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })),
  ],
  ['one that was closed', new DatabaseLost()],
  ['the driver’s own', Object.assign(new Error('write CONNECTION_CLOSED'), { code: 'CONNECTION_CLOSED' })],
  ['a database that starts', Object.assign(new Error('starting up'), { code: '57P03' })],
  ['one that became a standby', Object.assign(new Error('read-only transaction'), { code: '25006' })],
  ['one whose password was changed', Object.assign(new Error('authentication failed'), { code: '28P01' })],
  ['one that lets the user in no more', Object.assign(new Error('may not log in'), { code: '28000' })],
  ['one that was dropped', Object.assign(new Error('does not exist'), { code: '3D000' })],
  ['one that something else was thrown for', new Error('not read', { cause: new DatabaseLost() })],
])('the database is lost: %s', (_, error) => {
  expect(isDatabaseLost(error)).toBe(true);
});

test.each([
  ['a constraint', Object.assign(new Error('duplicate key'), { code: '23505' })],
  ['another connection', Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })],
  ['no error', undefined],
])('the database is there: %s', (_, error) => {
  expect(isDatabaseLost(error)).toBe(false);
});

test('the system’s error code is kept', () => {
  const error = new DatabaseLost(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }));
  expect(error).toMatchObject({ code: 'ECONNREFUSED', message: 'connect' });
});
