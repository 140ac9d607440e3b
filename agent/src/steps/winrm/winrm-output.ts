import { ClixmlDecoder } from '../../winrm/powershell/clixml.ts';
import type { OutputSink } from '../step-type.ts';

/**
 * Passes the output of a command on a WinRM host to the step's sink. PowerShell's CLIXML errors become text, and a full
 * sink doesn't delay a stop.
 */
export class WinrmOutput {
  readonly #sink: OutputSink;
  readonly #stopped: Promise<void>;
  readonly #errors = new ClixmlDecoder();

  constructor(sink: OutputSink, signal: AbortSignal) {
    this.#sink = sink;
    this.#stopped = new Promise((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  async write(stream: 'stdout' | 'stderr', bytes: Buffer): Promise<void> {
    await this.writeAsIs(stream, stream === 'stdout' ? bytes : Buffer.from(this.#errors.write(bytes)));
  }

  async writeAsIs(stream: 'stdout' | 'stderr', bytes: Buffer): Promise<void> {
    if (bytes.length === 0 || this.#sink.write(stream, bytes)) return;
    await Promise.race([this.#sink.drained(), this.#stopped]);
  }

  end(): void {
    const rest = this.#errors.end();
    if (rest !== '') this.#sink.write('stderr', Buffer.from(rest));
  }
}
