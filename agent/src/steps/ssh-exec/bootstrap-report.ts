// How the shell that starts a command tells what came of it: a line that begins with a word nobody else knows.
import { randomBytes } from 'node:crypto';
import { programPattern, type TargetLimits } from './ssh-exec-script.ts';

export function newNonce(): string {
  return randomBytes(16).toString('hex');
}

export type BootstrapReport =
  | { kind: 'started'; pid: number }
  | { kind: 'no_directory'; why: 'denied' | 'file' | 'missing' }
  | { kind: 'no_limit'; which: keyof TargetLimits }
  | { kind: 'no_shell'; which: string }
  | { kind: 'no_output_file' };

/** A longer line than any report is none. */
const maxReportBytes = 512;

/** Takes the report line out of stderr, wherever a login shell's own words left it. */
export class ReportFilter {
  report: BootstrapReport | undefined;
  readonly #nonce: Buffer;
  #held: Buffer = Buffer.alloc(0);
  /** The nonce came without a report: whoever printed it knows it, and nothing it prints is held back for one. */
  #isSpoilt = false;

  constructor(nonce: string) {
    this.#nonce = Buffer.from(nonce);
  }

  /** What of the bytes is output, in order. Without a copy once the report has been seen. */
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
      // A shell that shows what it does (`set -x`) shows the line that reports before the report.
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

  /** What is still held back when the stream ends. */
  flush(): Buffer[] {
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    return nonEmpty([held]);
  }
}

/** Reads a report without its nonce. */
export function parseReport(line: string): BootstrapReport | undefined {
  const [kind, value] = line.split(' ');
  if (kind === 'start' && /^\d{1,10}$/.test(value ?? '')) return { kind: 'started', pid: Number(value) };
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

/** How many last bytes may be the beginning of the nonce. */
function possibleStart(text: Buffer, nonce: Buffer): number {
  for (let length = Math.min(nonce.length - 1, text.length); length > 0; length -= 1) {
    if (text.subarray(text.length - length).equals(nonce.subarray(0, length))) return length;
  }
  return 0;
}

function nonEmpty(parts: Buffer[]): Buffer[] {
  return parts.filter((part) => part.length > 0);
}
