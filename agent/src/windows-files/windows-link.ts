// The file server of a transfer on its target, restarted when it is lost.
import { fileError, TransferError } from '../sftp/tree/transfer-error.ts';
import { SshError } from '../ssh/ssh-error.ts';
import type { StepContext } from '../steps/step-type.ts';
import { type WinrmDeps, winrmConnections } from '../steps/winrm/winrm-connection-options.ts';
import { reasons } from '../steps/winrm/winrm-exec-outcomes.ts';
import { FileRefused, FileSession } from '../winrm/files/file-session.ts';
import { WinrmError } from '../winrm/winrm-error.ts';

type LinkContext = Pick<StepContext, 'target' | 'credential' | 'checkAddresses' | 'signal'>;

export class WindowsLink {
  readonly #deps: WinrmDeps;
  readonly #context: LinkContext;
  #opening: Promise<FileSession> | undefined;
  #current: FileSession | undefined;

  constructor(deps: WinrmDeps, context: LinkContext) {
    this.#deps = deps;
    this.#context = context;
  }

  get where(): string {
    return `on ${this.#context.target.host}`;
  }

  /**
   * Returns the running file server's session, starting one if needed. Rejects with an `SshError` or the signal's
   * reason.
   */
  async session(): Promise<FileSession> {
    this.#context.signal.throwIfAborted();
    if (this.#current?.isOpen === true) return this.#current;
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  /** Has the next transfer log in anew. */
  retire(): void {
    winrmConnections(this.#context, this.#deps).retire?.();
  }

  async close(): Promise<void> {
    await this.#opening?.catch(() => undefined);
    await this.#current?.close();
  }

  async #open(): Promise<FileSession> {
    const { signal } = this.#context;
    await this.#current?.close();
    const connections = winrmConnections(this.#context, this.#deps);
    try {
      this.#current = await FileSession.open({ connections, signal });
      return this.#current;
    } catch (error) {
      if (!(error instanceof WinrmError)) throw error;
      // A login has the rights that its user had when it began.
      connections.retire?.();
      const { kind, message, advice, cause } = error;
      if (cause instanceof SshError) throw cause;
      throw new SshError({ reason: reasons[kind], message, advice, cause: error });
    }
  }

  /** Converts an error about a path for people. `doing` is the participle: `read`, `written`. */
  problem(error: unknown, path: string, doing: string): unknown {
    if (error instanceof WinrmError) return this.#cut(error);
    if (!(error instanceof FileRefused)) return error;
    const code = codes[error.code];
    if (code !== undefined) return fileError({ code }, this.where, path, doing);
    const isLocked = error.code === 'locked';
    return new TransferError({
      reason: 'transfer_failed',
      message: `${path} ${this.where} could not be ${doing}: ${isLocked ? 'another program has it open' : error.message}`,
      advice: isLocked ? 'End that program, or wait until it is done.' : 'Look at the file on the host.',
      retryable: isLocked,
    });
  }

  #cut({ message, advice }: WinrmError): TransferError {
    return new TransferError({ reason: 'transfer_cut', message, advice, retryable: true });
  }
}

const codes: Readonly<Record<string, string>> = {
  missing: 'ENOENT',
  denied: 'EACCES',
  full: 'ENOSPC',
  exists: 'EEXIST',
  long: 'ENAMETOOLONG',
};
