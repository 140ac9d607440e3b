// The report of the shell that starts a command: a line that begins with a nonce that nobody else knows.
import { randomBytes } from 'node:crypto';
import { programPattern, type TargetLimits } from './ssh-exec-script.ts';

export function newNonce(): string {
  return randomBytes(16).toString('hex');
}

/** Whether the login shell can prepare for an attempt itself. */
export type LoginShell = 'posix' | 'other';

export type BootstrapReport =
  | { kind: 'started'; pid: number; loginShell?: LoginShell }
  | { kind: 'no_directory'; why: 'denied' | 'file' | 'missing' }
  | { kind: 'no_limit'; which: keyof TargetLimits }
  | { kind: 'no_shell'; which: string }
  | { kind: 'no_output_file' };

/** Longer than any report; a longer line isn't one. */
const maxReportBytes = 512;

/** Takes the report line out of a stream, even if the login shell printed text of its own around it. */
export class ReportFilter {
  report: BootstrapReport | undefined;
  readonly #nonce: Buffer;
  #held: Buffer = Buffer.alloc(0);
  /** The nonce came without a report. Another program knows it, so nothing is held back any more. */
  #isSpoilt = false;

  constructor(nonce: string) {
    this.#nonce = Buffer.from(nonce);
  }

  /** Returns the parts that are output, in order. Doesn't copy once the report has been seen. */
  push(bytes: Buffer): Buffer[] {
    if (this.report || this.#isSpoilt) return [bytes];
    let text = this.#held.length > 0 ? Buffer.concat([this.#held, bytes]) : bytes;
    this.#held = Buffer.alloc(0);
    const output: Buffer[] = [];
    for (;;) {
      const start = text.indexOf(this.#nonce);
      if (start < 0) {
        const kept = possibleStart(text, this.#nonce);
        this.#held = text.subarray(text.length - kept);
        return nonEmpty([...output, text.subarray(0, text.length - kept)]);
      }
      const end = text.indexOf('\n', start);
      if (end < 0) return nonEmpty([...output, ...this.#unended(text, start)]);
      this.report = parseReport(text.toString('latin1', start + this.#nonce.length + 1, end));
      if (this.report) return nonEmpty([...output, text.subarray(0, start), text.subarray(end + 1)]);
      // With `set -x` a shell prints the reporting statement, nonce included, before the report.
      output.push(text.subarray(0, end + 1));
      text = text.subarray(end + 1);
    }
  }

  #unended(text: Buffer, start: number): Buffer[] {
    if (text.length - start > maxReportBytes) {
      this.#isSpoilt = true;
      return [text];
    }
    this.#held = text.subarray(start);
    return [text.subarray(0, start)];
  }

  /** Returns what is still held back. Called when the stream ends. */
  flush(): Buffer[] {
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    return nonEmpty([held]);
  }
}

/** Parses a report without its nonce; undefined if it is none. */
export function parseReport(line: string): BootstrapReport | undefined {
  const [kind, value, loginShell] = line.split(' ');
  if (kind === 'start' && /^\d{1,10}$/.test(value ?? '')) {
    const isKnown = loginShell === 'posix' || loginShell === 'other';
    return { kind: 'started', pid: Number(value), ...(isKnown ? { loginShell } : {}) };
  }
  if (kind === 'cd' && (value === 'denied' || value === 'file' || value === 'missing')) {
    return { kind: 'no_directory', why: value };
  }
  if (kind === 'limit' && (value === 'cpu_seconds' || value === 'memory_mb' || value === 'nice')) {
    return { kind: 'no_limit', which: value };
  }
  if (kind === 'shell' && value !== undefined && programPattern.test(value))
    return { kind: 'no_shell', which: value };
  if (kind === 'output') return { kind: 'no_output_file' };
  return undefined;
}

/** Returns how many of the last bytes may be the beginning of the nonce. */
function possibleStart(text: Buffer, nonce: Buffer): number {
  for (let length = Math.min(nonce.length - 1, text.length); length > 0; length -= 1) {
    if (text.subarray(text.length - length).equals(nonce.subarray(0, length))) return length;
  }
  return 0;
}

function nonEmpty(parts: Buffer[]): Buffer[] {
  return parts.filter((part) => part.length > 0);
}
