// Structured logs: one JSON object per line, or plain lines on a terminal. Secrets are redacted by name as a second
// line of defense; nothing should log them in the first place. A message says what happened and, after a semicolon, what
// the server does about it or what to do. It begins in lower case, has no final period, and leaves ids to the fields.
import { type DestinationStream, type Logger, pino } from 'pino';

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
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: secretNames.flatMap((name) => [`["${name}"]`, `*["${name}"]`, `*.*["${name}"]`]),
        censor: '[redacted]',
      },
    },
    stream,
  );
}

/**
 * Formats a line as `12:30:01.250 warn message key=value`, with a stack below it. Control characters are escaped, as
 * values may be hostile.
 */
function plainLine(line: string): string {
  const { level, time, msg, err, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const values = Object.entries(rest).map(([name, value]) => ` ${name}=${visible(plainValue(value))}`);
  const clock = String(time).slice(11, 23);
  const stack = (err as { stack?: unknown } | undefined)?.stack;
  const below =
    stack === undefined
      ? ''
      : `\n${String(stack)
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
