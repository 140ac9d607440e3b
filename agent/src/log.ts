// Structured lines on stderr; plain ones where a person watches. What is logged never holds a secret: callers log
// ids, reasons and messages, not contents.
import { type Logger, pino } from 'pino';

export type { Logger };

const levelNames: Record<number, string> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'ERROR',
  60: 'FATAL',
};
const left = new Set(['level', 'time', 'pid', 'hostname', 'msg', 'err']);

export function createLog(options: { plain: boolean; level: string }): Logger {
  const { plain, level } = options;
  if (!plain) return pino({ level }, pino.destination(2));
  return pino({ level }, { write: (line: string) => process.stderr.write(plainLine(line)) });
}

export function plainLine(json: string): string {
  const record = JSON.parse(json) as Record<string, unknown>;
  const { level, time, msg, err } = record;
  const at = new Date(Number(time)).toTimeString().slice(0, 8);
  const extra = Object.entries(record)
    .filter(([key]) => !left.has(key))
    .map(([key, value]) => ` ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join('');
  const { stack, message } = Object(err) as { stack?: string; message?: string };
  const trace = err === undefined ? '' : `\n${stack ?? message ?? String(err)}`;
  return `${at} ${levelNames[Number(level)] ?? level} ${String(msg)}${extra}${trace}\n`;
}
