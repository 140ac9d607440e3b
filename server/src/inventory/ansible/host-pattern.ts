// Names of hosts as Ansible writes them: `web[01:50:2].example.com`, `db-[a:f]`, `host:2222`, `[2001:db8::1]:22`.

export class HostPatternError extends Error {
  override readonly name = 'HostPatternError';
}

const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
const range = '\\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\\]';
const label = `(?:[\\p{L}\\p{N}_]|${range})(?:(?:[\\p{L}\\p{N}_-]|${range})*(?:[\\p{L}\\p{N}]|${range}))?`;
const hostname = new RegExp(`^${label}(?:\\.${label})*$`, 'iu');
const ipv6 = /^[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*$/i;
const maxPatternLength = 300;

/** Splits off a port at the end. As in Ansible, text that is not a host name with a port is all name. */
export function splitPort(text: string): { pattern: string; port: number | undefined } {
  if (text.length > maxPatternLength) throw new HostPatternError('The name is too long.');
  const match = /^\[(.+)\]:([0-9]+)$/.exec(text) ?? /^((?:[^:[\]]|\[[^\]]*\])*):([0-9]+)$/.exec(text);
  const [, pattern = '', port] = match ?? [];
  if (port === undefined || !(hostname.test(pattern) || ipv6.test(pattern))) {
    if (text.endsWith(':'))
      throw new HostPatternError('The name ends in a colon: write the port after it, or remove it.');
    return { pattern: text, port: undefined };
  }
  return { pattern, port: Number(port) };
}

/**
 * Returns the names that a pattern stands for. They are counted before any is made.
 * @throws {HostPatternError} for an invalid range, and for more names than `max`.
 */
export function expandRanges(pattern: string, max: number): string[] {
  const parts = pattern.split(/\[([^[\]]*)\]/);
  if (parts.some((part, at) => at % 2 === 0 && /[[\]]/.test(part))) {
    throw new HostPatternError('Brackets are for ranges: [01:50], [a:f] or [1:9:2].');
  }
  const choices = parts.map((part, at) => (at % 2 === 0 ? undefined : readRange(part)));
  const count = choices.reduce((product, one) => product * (one?.count ?? 1), 1);
  if (count > max) {
    throw new HostPatternError(`The range stands for ${count} hosts; an inventory may have ${max}.`);
  }
  let names = [''];
  for (const [at, part] of parts.entries()) {
    const choice = choices[at];
    const ends = choice === undefined ? [part] : Array.from({ length: choice.count }, (_, n) => choice.at(n));
    names = names.flatMap((name) => ends.map((end) => name + end));
  }
  return names;
}

interface Range {
  count: number;
  at(n: number): string;
}

function readRange(text: string): Range {
  const [begin = '', end, stepText = '1', ...more] = text.split(':');
  if (end === undefined || end === '' || more.length > 0) {
    throw new HostPatternError('A range is [begin:end] or [begin:end:step].');
  }
  const step = Number(stepText);
  if (!/^[0-9]+$/.test(stepText) || step < 1 || !Number.isSafeInteger(step)) {
    throw new HostPatternError('The step of a range is a whole number from 1.');
  }
  if (begin.length === 1 && end.length === 1 && letters.includes(begin) && letters.includes(end)) {
    const first = letters.indexOf(begin);
    return counted(first, letters.indexOf(end), step, (n) => letters[n] ?? '');
  }
  if (!/^[0-9]{0,15}$/.test(begin) || !/^[0-9]{1,15}$/.test(end)) {
    throw new HostPatternError('A range goes from number to number, or from letter to letter.');
  }
  const isPadded = begin.length > 1 && begin.startsWith('0');
  if (isPadded && begin.length !== end.length) {
    throw new HostPatternError(
      'In a range with leading zeros, both ends have the same number of digits: [01:50].',
    );
  }
  const width = isPadded ? begin.length : 1;
  return counted(Number(begin), Number(end), step, (n) => String(n).padStart(width, '0'));
}

function counted(first: number, last: number, step: number, nameOf: (n: number) => string): Range {
  if (first > last) throw new HostPatternError('A range begins with the lower end.');
  return { count: Math.floor((last - first) / step) + 1, at: (n) => nameOf(first + n * step) };
}
