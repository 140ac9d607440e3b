// The SFTP session of a transfer, opened again when it was lost. It and what else the transfer asks of the target go over
// the agent's pool of warm connections.
import type { StepOutcome } from '@opsconductor/protocol';
import type { ClientChannel } from 'ssh2';
import { startShell } from '../../ssh/become/start-as.ts';
import type { Lease, SshPool } from '../../ssh/pool/pool.ts';
import { sshContext } from '../../ssh/ssh-context.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import type { StepContext } from '../../steps/step-type.ts';
import { bytesOf } from '../tree/name-bytes.ts';
import { openSftp } from './open-sftp.ts';
import type { SftpSession } from './sftp-session.ts';

type LinkContext = Pick<StepContext, 'target' | 'credential' | 'become' | 'checkAddresses' | 'signal'>;

export type ShellLease = Lease<ClientChannel>;

export class SftpLink {
  readonly #pool: SshPool;
  readonly #context: LinkContext;
  #opening: Promise<Lease<SftpSession>> | undefined;
  #current: Lease<SftpSession> | undefined;
  #carrier: NonNullable<StepOutcome['ssh']> | undefined;

  constructor(pool: SshPool, context: LinkContext) {
    this.#pool = pool;
    this.#context = context;
  }

  get host(): string {
    return this.#context.target.host;
  }

  /** The connection that carried it last. */
  get carrier(): NonNullable<StepOutcome['ssh']> | undefined {
    return this.#carrier;
  }

  /** The session, a new one where the last is over. Rejects with an `SshError`, or with the signal's reason. */
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

  /** The session as far as there is one, also when the transfer is to stop. */
  get openSession(): SftpSession | undefined {
    return this.#current?.channel.open === true ? this.#current.channel : undefined;
  }

  /** The stdout of a script of ours, or undefined where the target runs none. */
  async run(script: string): Promise<string | undefined> {
    const lease = await this.shell('exec /bin/sh');
    if (lease === undefined) return undefined;
    try {
      return await outputOf(lease.channel, script, this.#context.signal);
    } finally {
      lease.channel.close();
      lease.release();
    }
  }

  /**
   * A command in the login shell, or in that of whom it becomes, which starts with `exec`; or undefined where the target takes none. The channel is for whoever asked to close.
   *
   * @param patience ends the waiting for it, which then rejects.
   */
  async shell(command: string, patience?: AbortSignal): Promise<ShellLease | undefined> {
    const request = this.#request();
    const signal = patience === undefined ? request.signal : AbortSignal.any([request.signal, patience]);
    try {
      return await this.#pool.open({ ...request, signal }, (connection) =>
        startShell(connection, this.#context.become, command),
      );
    } catch (error) {
      if (error instanceof SshError) return undefined;
      throw error;
    }
  }

  close(): void {
    this.#current?.channel.close();
    this.#current?.release();
    this.#current = undefined;
  }

  async #open(): Promise<Lease<SftpSession>> {
    const lease = await this.#pool.open(this.#request(), (connection) =>
      openSftp(connection, this.host, this.#context.become),
    );
    this.#current = lease;
    this.#carrier = sshContext(lease);
    return lease;
  }

  #request() {
    const { target, credential, signal } = this.#context;
    const checkAddresses = (found: readonly string[]) => this.#context.checkAddresses(found);
    return { target, credential, checkAddresses, signal };
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
