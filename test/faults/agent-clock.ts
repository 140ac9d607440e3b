// The clock of an agent under test: the machine's clock plus an offset from a file. The harness writes the file; the
// agent reads it each time, so that a step of the clock takes effect at once, even when the process wakes up.
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { Clock } from '../../agent/src/execution/lease-deadline.ts';

const bytes = 16;

export class ClockFile {
  readonly #path: string;
  #wallMs = 0;
  #monotonicMs = 0;

  constructor(path: string) {
    this.#path = path;
    this.#write();
  }

  /** Steps the wall clock. */
  step(ms: number): void {
    this.#wallMs += ms;
    this.#write();
  }

  /** Simulates that the machine slept, during which its monotonic clock stood still. */
  slept(ms: number): void {
    this.#monotonicMs -= ms;
    this.#write();
  }

  #write(): void {
    const content = Buffer.alloc(bytes);
    content.writeDoubleLE(this.#wallMs, 0);
    content.writeDoubleLE(this.#monotonicMs, 8);
    const file = openSync(this.#path, 'a');
    closeSync(file);
    const writing = openSync(this.#path, 'r+');
    writeSync(writing, content, 0, bytes, 0);
    closeSync(writing);
  }
}

export function clockOfFile(path: string): Clock {
  const file = openSync(path, 'r');
  const content = Buffer.alloc(bytes);
  const ahead = (at: number) => {
    readSync(file, content, 0, bytes, 0);
    return content.readDoubleLE(at);
  };
  return {
    wallMs: () => Date.now() + ahead(0),
    monotonicMs: () => performance.now() + ahead(8),
  };
}
