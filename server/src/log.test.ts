import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { createLog, outliveOutput } from './log.ts';
import { DatabaseLost } from './store/database/database-lost.ts';

function logged(plain: boolean, write: (log: ReturnType<typeof createLog>) => void): string {
  let text = '';
  const log = createLog({ level: 'debug', plain, destination: { write: (line) => (text += line) } });
  write(log);
  return text;
}

test('a line is one JSON object with the time, the level and the given values', () => {
  const text = logged(false, (log) => log.child({ requestId: 'r1' }).info({ status: 200 }, 'request'));
  expect(JSON.parse(text)).toEqual({
    level: 'info',
    time: expect.stringMatching(/^\d{4}-.*Z$/),
    requestId: 'r1',
    status: 200,
    msg: 'request',
  });
});

test('secrets are redacted by name, down to two levels', () => {
  const text = logged(false, (log) =>
    log.warn(
      {
        password: 'hunter2',
        request: { token: 'hunter2', headers: { authorization: 'hunter2', 'set-cookie': 'hunter2' } },
      },
      'x',
    ),
  );
  expect(text).not.toContain('hunter2');
  expect(text).toContain('[redacted]');
});

test('an error is logged with its stack and its cause', () => {
  const text = logged(false, (log) =>
    log.error({ err: new Error('outer', { cause: new Error('inner') }) }, 'x'),
  );
  expect(text).toContain('outer');
  expect(text).toContain('inner');
});

test('lines are plain on a terminal, and a hostile value can neither break the line nor control the terminal', () => {
  const text = logged(true, (log) => log.warn({ path: '/a\u001b[2J\nfake', status: 5 }, 'bad \u009b31m'));
  expect(text).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3} warn {2}bad \\x9b31m path="\/a\\u001b\[2J\\nfake" status=5\n$/,
  );
});

test('the code of an error is shown, and a one-time code is not', () => {
  const err = Object.assign(new Error('no room'), { code: 'ENOSPC' });
  const text = logged(false, (log) => log.warn({ err, code: 'hunter2', request: { code: 'hunter2' } }, 'x'));
  expect(JSON.parse(text)).toMatchObject({ err: { code: 'ENOSPC' }, code: '[redacted]' });
  expect(text).not.toContain('hunter2');
});

test('output that can’t be written ends nothing', () => {
  const stream = new PassThrough();
  outliveOutput(stream);
  expect(() => stream.emit('error', new Error('ENOSPC'))).not.toThrow();
});

test('of a lost database only what was met is logged, as everything meets it', () => {
  const lost = new DatabaseLost(Object.assign(new Error('connect refused'), { code: 'ECONNREFUSED' }));
  const { err } = JSON.parse(logged(false, (log) => log.warn({ err: lost }, 'x')));
  expect(err).toEqual({ type: 'DatabaseLost', message: 'connect refused', code: 'ECONNREFUSED' });
  expect(logged(true, (log) => log.warn({ err: lost }, 'x'))).toMatch(/warn {2}x\n {2}connect refused\n$/);
});
