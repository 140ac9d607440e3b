import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
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

test('a lost connection without a code has none in the log', () => {
  const { err } = JSON.parse(logged(false, (log) => log.warn({ err: new DatabaseLost() }, 'x')));
  expect(err).toEqual({ type: 'DatabaseLost', message: expect.any(String) });
});

describe('while the database is away', () => {
  const refused = () => new DatabaseLost(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }));

  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Logs what two parts of the server that need the database every second say of it, for some seconds. */
  function awayFor(seconds: number) {
    const lines: Record<string, unknown>[] = [];
    const log = createLog({
      level: 'info',
      plain: false,
      destination: { write: (line) => lines.push(JSON.parse(line)) },
    });
    for (let at = 0; at < seconds; at += 1) {
      log.error({ err: refused() }, 'steps could not be claimed');
      log
        .child({ part: 'sweeper' })
        .warn({ err: new Error('no', { cause: refused() }) }, 'ending runs failed');
      vi.advanceTimersByTime(1_000);
    }
    return { lines, log };
  }

  test('each message is logged once, then once a minute with how many were left out, and then that it is back', () => {
    const { lines } = awayFor(150);
    expect(lines.map(({ msg, leftOut }) => [msg, leftOut])).toEqual([
      ['steps could not be claimed', undefined],
      ['ending runs failed', undefined],
      ['steps could not be claimed', 59],
      ['ending runs failed', 59],
      ['steps could not be claimed', 59],
      ['ending runs failed', 59],
    ]);
    vi.advanceTimersByTime(29_000);
    expect(lines).toHaveLength(7);
    expect(lines[6]).toMatchObject({ level: 'warn', leftOut: 294, awayS: 149 });
    expect(lines[6]?.['msg']).toBe(
      'the database answers again; lines that only repeated that it did not were left out',
    );
    vi.advanceTimersByTime(3_600_000);
    expect(lines).toHaveLength(7);
  });

  test('what was met next time is logged at once again', () => {
    const { lines, log } = awayFor(2);
    vi.advanceTimersByTime(30_000);
    log.error({ err: refused() }, 'steps could not be claimed');
    expect(lines.map(({ msg }) => msg)).toEqual([
      'steps could not be claimed',
      'ending runs failed',
      expect.stringMatching(/^the database answers again/),
      'steps could not be claimed',
    ]);
  });

  test('where nothing was left out, nothing is said of that', () => {
    const { lines } = awayFor(1);
    vi.advanceTimersByTime(30_000);
    expect(lines.at(-1)).toMatchObject({ msg: 'the database answers again', leftOut: 0 });
  });

  test('all other lines are logged, and what callers were answered, whose request ids may be asked for', () => {
    const { lines, log } = awayFor(1);
    for (const requestId of ['r1', 'r2']) log.warn({ err: refused(), requestId }, 'request failed');
    for (let n = 0; n < 2; n += 1) log.error({ err: new Error('a bug') }, 'steps could not be claimed');
    for (let n = 0; n < 2; n += 1) log.warn('the disk is nearly full');
    expect(lines).toHaveLength(8);
  });

  test('the same goes for its full disk, which agents whose output can’t be stored meet every second', () => {
    const lines: Record<string, unknown>[] = [];
    const log = createLog({
      level: 'info',
      plain: false,
      destination: { write: (line) => lines.push(JSON.parse(line)) },
    });
    for (let at = 0; at < 90; at += 1) {
      const err = Object.assign(new Error('no space left on device'), { code: '53100' });
      log.error({ err, agent: 'a' }, 'output could not be stored');
      log.error({ err, agent: 'b' }, 'output could not be stored');
      vi.advanceTimersByTime(1_000);
    }
    log.warn(
      { err: Object.assign(new Error('no space'), { code: '53100' }), requestId: 'r1' },
      'request failed',
    );
    vi.advanceTimersByTime(29_000);
    expect(lines.map(({ msg, leftOut }) => [msg, leftOut])).toEqual([
      ['output could not be stored', undefined],
      ['output could not be stored', 119],
      ['request failed', undefined],
      [
        'nothing has found the disk of the database full for half a minute; lines that only repeated that it was full were left out',
        178,
      ],
    ]);
    expect(lines.at(-1)).toMatchObject({ level: 'warn', fullS: 89 });
  });
});
