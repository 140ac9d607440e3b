import { afterEach, expect, test, vi } from 'vitest';
import { createLog } from '../log.ts';
import { connect, isLostTypeQuery } from '../store/database/connection.ts';
import { setupDatabase } from '../store/database/testing.ts';
import { endOnUnhandledRejection } from './unhandled-rejection.ts';

type Listener = (error: unknown, promise: Promise<unknown>) => void;
const before = process.listeners('unhandledRejection');
afterEach(() => {
  for (const listener of process.listeners('unhandledRejection')) {
    if (!before.includes(listener)) process.off('unhandledRejection', listener);
  }
  vi.restoreAllMocks();
});

/** Returns what is logged about an unhandled rejection, and the exit code with which the process is ended. */
function met(error: unknown): { told: Record<string, unknown>; exitCode: unknown } {
  const lines: string[] = [];
  endOnUnhandledRejection(
    createLog({ level: 'info', plain: false, destination: { write: (line) => lines.push(line) } }),
  );
  const listener = process.listeners('unhandledRejection').at(-1) as Listener;
  const exit = vi.spyOn(process, 'exit').mockReturnValue(undefined as never);
  listener(error, Promise.resolve());
  return { told: JSON.parse(lines[0] ?? '{}'), exitCode: exit.mock.calls[0]?.[0] };
}

/** The query that the driver itself sends on a new connection. */
async function firstQueryOfDriver(): Promise<string> {
  const database = await setupDatabase();
  try {
    const queries: string[] = [];
    const sql = connect(database.url, { max: 1 });
    (sql.options as { debug?: unknown }).debug = (_connection: number, query: string) => queries.push(query);
    await sql`select 'ours'`;
    await sql.end();
    return queries.find((query) => !query.includes('ours')) ?? '';
  } finally {
    await database.close();
  }
}

test('a query of the driver itself, on a connection that is lost at that moment, does not end the process', async () => {
  const query = await firstQueryOfDriver();
  expect(query).not.toBe('');
  const { told, exitCode } = met(Object.assign(new Error('CONNECTION_CLOSED'), { query }));
  expect(told).toMatchObject({ level: 'warn', err: { message: 'CONNECTION_CLOSED' } });
  expect(exitCode).toBeUndefined();
});

test.each([
  ['an error', new Error('a bug')],
  [
    'a lost query of ours',
    Object.assign(new Error('CONNECTION_CLOSED'), { query: 'select id from targets' }),
  ],
  ['no error at all', undefined],
])('%s that nobody handled is logged whole and ends the process', (_, error) => {
  expect(isLostTypeQuery(error)).toBe(false);
  const { told, exitCode } = met(error);
  expect(told).toMatchObject({ level: 'fatal', msg: expect.stringContaining('unhandled error') });
  expect(exitCode).toBe(1);
});
