// Structured lines on stderr, or plain ones if a person watches. Logs never contain a secret: callers log ids, reasons
// and messages, not contents. The form of a message is that of the server's (its `log.ts`); a text that is also shown to
// people follows after a colon.
import { type Logger, pino } from 'pino';
import { visible, visibleText } from './command-line/visible.ts';

export type { Logger };

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

const left = new Set(['level', 'time', 'msg', 'err']);

/** Lines have the same form as in the server's logs: names of levels, times in UTC. */
export function createLog(options: {
  plain: boolean;
  level: string;
  /** Standard error by default. */
  write?: (line: string) => unknown;
}): Logger {
  const { plain, level, write = (line: string) => process.stderr.write(line) } = options;
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => void write(plain ? plainLine(line) : line) },
  );
}

/** Control characters are escaped, since hosts and servers may be hostile. */
export function plainLine(json: string): string {
  const record = JSON.parse(json) as Record<string, unknown>;
  const { level, time, msg, err } = record;
  const at = String(time).slice(11, 19);
  const extra = Object.entries(record)
    .filter(([key]) => !left.has(key))
    .map(([key, value]) => ` ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join('');
  const { stack, message } = Object(err) as { stack?: string; message?: string };
  const lines = String(stack ?? message ?? err).split('\n');
  const trace = err === undefined ? '' : `\n${lines.map(visible).join('\n')}`;
  return `${at} ${String(level).padEnd(5)} ${visibleText(String(msg))}${visible(extra)}${trace}\n`;
}
