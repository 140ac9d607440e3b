// Structured logs: one JSON object per line, or plain lines on a terminal. Secrets are redacted by name as a second
// line of defense; nothing should log them in the first place. A message says what happened and, after a semicolon, what
// the server does about it or what to do. It begins in lower case, has no final period, and leaves ids to the fields.
import { type DestinationStream, type Logger, pino, stdSerializers } from 'pino';
import { RepeatedLines } from './repeated-lines.ts';
import { isDatabaseFull, isDatabaseLost } from './store/database/database-lost.ts';

export type Log = Logger;
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

const secretNames = [
  'password',
  'passwordHash',
  'token',
  'code',
  'secret',
  'sealed',
  'privateKey',
  'cookie',
  'authorization',
  'set-cookie',
  'databaseUrl',
  'bootstrapToken',
];

export interface LogOptions {
  level: LogLevel;
  /** Standard output by default. */
  destination?: { write(line: string): unknown };
  /** Plain lines instead of JSON. */
  plain: boolean;
}

export function createLog(options: LogOptions): Log {
  const destination = options.destination ?? process.stdout;
  const stream: DestinationStream = {
    write: (line) => void destination.write(options.plain ? plainLine(line) : line),
  };
  const lost = new RepeatedLines({
    tellsOf: isDatabaseLost,
    onOver: ({ leftOut, lastedS }) => {
      const more = '; lines that only repeated that it did not were left out';
      log.warn({ leftOut, awayS: lastedS }, `the database answers again${leftOut === 0 ? '' : more}`);
    },
  });
  const full = new RepeatedLines({
    tellsOf: isDatabaseFull,
    onOver: ({ leftOut, lastedS }) => {
      const more = '; lines that only repeated that it was full were left out';
      log.warn(
        { leftOut, fullS: lastedS },
        `nothing has found the disk of the database full for half a minute${leftOut === 0 ? '' : more}`,
      );
    },
  });
  const log = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: errorToLog },
      hooks: {
        logMethod(line, method) {
          const unlessLost = lost.pass(line);
          const passed = unlessLost && full.pass(unlessLost);
          if (passed !== undefined) method.apply(this, passed as typeof line);
        },
      },
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: secretNames.flatMap((name) => [`["${name}"]`, `*["${name}"]`, `*.*["${name}"]`]),
        censor: (value, path) => (path.at(-1) === 'code' && isErrorCode(value) ? value : '[redacted]'),
      },
    },
    stream,
  );
  return log;
}

/**
 * A lost database is met by everything that the server does, many times a second. Where in the code that was doesn't
 * matter; what was met does, and it has to be found in between.
 */
function errorToLog(error: Error): unknown {
  if (!isDatabaseLost(error)) return stdSerializers.err(error);
  const { name: type, message } = error;
  const { code } = error as { code?: unknown };
  return { type, message, ...(code === undefined ? {} : { code }) };
}

/** Tells the code of an error (`ENOSPC`, an SQLSTATE), which says what is wrong, from a one-time code. */
function isErrorCode(value: unknown): boolean {
  return typeof value === 'string' && /^[A-Z0-9_]{3,40}$/.test(value);
}

/**
 * Formats a line as `12:30:01.250 warn message key=value`, with a stack below it. Control characters are escaped, as
 * values may be hostile.
 */
function plainLine(line: string): string {
  const { level, time, msg, err, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const values = Object.entries(rest).map(([name, value]) => ` ${name}=${visible(plainValue(value))}`);
  const clock = String(time).slice(11, 23);
  const { stack, message } = Object(err) as { stack?: unknown; message?: unknown };
  const told = stack ?? message;
  const below =
    told === undefined
      ? ''
      : `\n${String(told)
          .split('\n')
          .map((one) => `  ${visible(one)}`)
          .join('\n')}`;
  return `${clock} ${String(level).padEnd(5)} ${visible(String(msg ?? ''))}${values.join('')}${below}\n`;
}

function plainValue(value: unknown): string {
  if (typeof value === 'string') return /^[\w.:/@+-]+$/.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value);
}

function visible(text: string): string {
  return text.replaceAll(
    /\p{Cc}/gu,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/**
 * Keeps the process alive when a stream can't be written: the disk of a log is full, or its reader has gone. Those lines
 * are lost; later ones are written again once they can be.
 */
export function outliveOutput(...streams: readonly NodeJS.WritableStream[]): void {
  for (const stream of streams) stream.on('error', () => {});
}
