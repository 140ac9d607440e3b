// The SFTP session of a transfer, reopened when it is lost. The session and the transfer's commands use the agent's
// pool of warm connections.
import type { StepOutcome } from '@opsconductor/protocol';
import type { ClientChannel } from 'ssh2';
import { startShell } from '../../ssh/become/start-as.ts';
import type { OpenRequest, PooledChannel, SshPool } from '../../ssh/pool/pool.ts';
import { requestFor } from '../../ssh/pool/request-for.ts';
import { sshContext } from '../../ssh/ssh-context.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import type { StepContext } from '../../steps/step-type.ts';
import { pauseAtMost } from '../../timing/pause.ts';
import { cleanUpLimit } from '../clean-up-limit.ts';
import { bytesOf } from '../tree/name-bytes.ts';
import { isCut, sftpStatus } from '../tree/transfer-error.ts';
import { openSftp } from './open-sftp.ts';
import type { SftpSession } from './sftp-session.ts';

type LinkContext = Pick<StepContext, 'target' | 'credential' | 'become' | 'checkAddresses' | 'signal'>;

export type PooledShell = PooledChannel<ClientChannel>;

export class SftpLink {
  readonly #pool: SshPool;
  readonly #context: LinkContext;
  #opening: Promise<PooledChannel<SftpSession>> | undefined;
  #current: PooledChannel<SftpSession> | undefined;
  #carrier: NonNullable<StepOutcome['ssh']> | undefined;
  /** Unfinished files that could not be removed: each session was lost before, or the target refused. */
  readonly #left = new Set<string>();
  /** Those of them that the target has refused to remove. */
  readonly #refused: string[] = [];

  readonly #hasOtherWay: boolean;

  /** @param options.hasOtherWay whether the caller can do without SFTP on the same login */
  constructor(pool: SshPool, context: LinkContext, { hasOtherWay = false }: { hasOtherWay?: boolean } = {}) {
    this.#pool = pool;
    this.#context = context;
    this.#hasOtherWay = hasOtherWay;
  }

  get host(): string {
    return this.#context.target.host;
  }

  /** The connection used last. */
  get carrier(): NonNullable<StepOutcome['ssh']> | undefined {
    return this.#carrier;
  }

  /**
   * Returns the session, opening a new one if the last has ended. Rejects with an `SshError` or the signal's reason.
   */
  async session(): Promise<SftpSession> {
    this.#context.signal.throwIfAborted();
    if (this.#current?.channel.open === true) return this.#current.channel;
    this.#current?.release();
    this.#current = undefined;
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return (await this.#opening).channel;
  }

  /** The session if one is open, also while the transfer is being stopped. */
  get openSession(): SftpSession | undefined {
    return this.#current?.channel.open === true ? this.#current.channel : undefined;
  }

  /** Runs a script of our own and returns its stdout; undefined if the target doesn't run it successfully. */
  async run(script: string): Promise<string | undefined> {
    const pooled = await this.shell('exec /bin/sh');
    if (pooled === undefined) return undefined;
    try {
      return await outputOf(pooled.channel, script, this.#context.signal);
    } finally {
      pooled.channel.close();
      pooled.release();
    }
  }

  /**
   * Runs a command that begins with `exec` in the login shell, or in the shell of the user it becomes; undefined if the
   * target doesn't run commands. The caller closes the channel.
   *
   * @param patience ends the wait, and the promise then rejects
   */
  async shell(command: string, patience?: AbortSignal): Promise<PooledShell | undefined> {
    const request = this.#request();
    const signal = patience === undefined ? request.signal : AbortSignal.any([request.signal, patience]);
    try {
      // Without a shell, small files go over SFTP.
      return await this.#pool.open({ ...request, signal, hasOtherWay: true }, (connection) =>
        startShell(connection, this.#context.become, command),
      );
    } catch (error) {
      if (error instanceof SshError) return undefined;
      throw error;
    }
  }

  removeAtEnd(path: string): void {
    this.#left.add(path);
  }

  /**
   * Removes the files that were left to the end of the transfer, over new sessions if needed, also of a transfer that
   * is being stopped. Returns those that may still be there. Never rejects.
   */
  async removeLeft(): Promise<string[]> {
    if (this.#left.size === 0) return [];
    const signal = cleanUpLimit(this.#context.signal);
    const close = () => this.close();
    // A session that no longer answers would keep its requests waiting.
    signal.addEventListener('abort', close);
    let isHopeless = false;
    for (let tries = 0; this.#left.size > 0 && !isHopeless && !signal.aborted; tries += 1) {
      if (tries > 0) await pauseAtMost(Math.min(100 * 2 ** tries, 2_000), signal);
      try {
        const session = this.openSession ?? (await this.#reopen({ signal, urgent: true, fresh: tries > 0 }));
        await Promise.all([...this.#left].map((path) => this.#remove(session, path)));
      } catch (error) {
        isHopeless = error instanceof SshError && !error.retryable;
      }
    }
    signal.removeEventListener('abort', close);
    return [...this.#left, ...this.#refused];
  }

  async #remove(session: SftpSession, path: string): Promise<void> {
    try {
      await session.removeFile(path);
    } catch (error) {
      if (isCut(error)) return;
      // The answer would be the same the next time.
      if ((error as { code?: unknown }).code !== sftpStatus.noSuchFile) this.#refused.push(path);
    }
    this.#left.delete(path);
  }

  close(): void {
    this.#current?.channel.close();
    this.#current?.release();
    this.#current = undefined;
  }

  async #reopen(how: Pick<OpenRequest, 'signal' | 'urgent' | 'fresh'>): Promise<SftpSession> {
    this.close();
    return (await this.#open(how)).channel;
  }

  async #open(
    how: Pick<OpenRequest, 'signal' | 'urgent' | 'fresh'> = {},
  ): Promise<PooledChannel<SftpSession>> {
    const request = { ...this.#request(), ...how, hasOtherWay: this.#hasOtherWay };
    const pooled = await this.#pool.open(request, (connection) =>
      openSftp(connection, this.host, this.#context.become),
    );
    this.#current = pooled;
    this.#carrier = sshContext(pooled);
    return pooled;
  }

  #request() {
    return { ...requestFor(this.#context), signal: this.#context.signal };
  }
}

const maxOutputBytes = 64 * 1024;

function outputOf(channel: ClientChannel, script: string, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort);
    channel.on('data', (bytes: Buffer) => {
      if (text.length < maxOutputBytes) text += bytes.toString('latin1');
    });
    channel.stderr.resume();
    channel.on('error', () => resolve(undefined));
    channel.once('close', (code: number | null | undefined) => {
      signal.removeEventListener('abort', onAbort);
      resolve(code === 0 ? text : undefined);
    });
    channel.end(bytesOf(script));
  });
}
