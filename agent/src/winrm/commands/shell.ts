// A shell on a WinRM host, and the operations on it (MS-WSMV 3.1.4). Decides which of them may be sent twice.
import { pause } from '../../timing/pause.ts';
import type { RequestOptions, WinrmConnection } from '../connection/connection.ts';
import { faultCodes } from '../messages/faults.ts';
import type { signals } from '../messages/namespaces.ts';
import { commandIdOf, type Received, readReply, receivedOf, shellIdOf } from '../messages/replies.ts';
import {
  type Addressing,
  type CommandLine,
  commandMessage,
  createMessage,
  deleteMessage,
  receiveMessage,
  type ShellSettings,
  sendMessage,
  signalMessage,
} from '../messages/soap.ts';
import { WinrmError } from '../winrm-error.ts';

/** After this long without news the host replies anyway. */
const operationTimeoutS = 60;
/** Longer than the operation's timeout, so that the host ends a poll. */
const pollTimeoutMs = 90_000;
/** How long a host may keep saying that it is too busy for input. */
const maxBusyMs = 600_000;
/** For requests that should be answered at once. */
const answerTimeoutMs = 30_000;

export function addressingOf(connection: WinrmConnection): Addressing {
  const { url: to, maxEnvelopeBytes } = connection;
  return { to, maxEnvelopeBytes, operationTimeoutS };
}

export class WinrmShell {
  readonly id: string;
  #deleted = false;

  private constructor(id: string) {
    this.id = id;
  }

  /** Creates a shell. If the reply is lost, the shell is left to the host, which removes it when it is idle. */
  static async create(
    connection: WinrmConnection,
    settings: ShellSettings,
    signal?: AbortSignal,
  ): Promise<WinrmShell> {
    const create = async (withProfile: boolean) => {
      const message = createMessage(addressingOf(connection), settings, { withProfile });
      return new WinrmShell(shellIdOf(readReply(await connection.request(message, answering(signal)))));
    };
    try {
      return await create(connection.loadsProfile);
    } catch (error) {
      const isDenied =
        error instanceof WinrmError && error.kind === 'not_authorized' && error.code !== undefined;
      if (!isDenied || !connection.loadsProfile) throw error;
      // Windows is said to load no profile for a user who is not an administrator.
      const shell = await create(false).catch(() => {
        throw error;
      });
      connection.loadsProfile = false;
      return shell;
    }
  }

  /**
   * Begins a command and returns its id. Never sent twice: the host may have begun it although no reply came.
   *
   * @throws {WinrmError} `notExecuted` if the command was certainly not begun: the message was not sent, or the host
   * itself refused it with a fault that says so.
   */
  async start(connection: WinrmConnection, line: CommandLine): Promise<string> {
    const message = commandMessage(addressingOf(connection), this.id, line);
    const reply = await connection.request(message, { timeoutMs: answerTimeoutMs, once: true });
    try {
      return commandIdOf(readReply(reply));
    } catch (error) {
      if (!(error instanceof WinrmError)) throw error;
      throw error.as({ notExecuted: error.notExecuted && connection.areRepliesProven });
    }
  }

  /**
   * Returns what the command has printed since the last poll, as soon as there is any; nothing after a minute without.
   */
  async receive(connection: WinrmConnection, command: string, signal?: AbortSignal): Promise<Received> {
    const message = receiveMessage(addressingOf(connection), this.id, command);
    try {
      return receivedOf(readReply(await connection.request(message, { timeoutMs: pollTimeoutMs, signal })));
    } catch (error) {
      if (!(error instanceof WinrmError) || error.kind !== 'poll_again') throw error;
      return { output: [], isDone: false, exitCode: undefined };
    }
  }

  /**
   * Sends input. It is not sent twice, because the host may have passed a part of it to the command, except if the host
   * itself says that it was too busy to take it. A host under load may reply in time although it is not done; it then
   * goes on, as others have observed.
   *
   * @param connectionOf returns the connection for each try, counted from 1.
   * @returns whether the host said that it has taken it all.
   */
  async send(
    connectionOf: (tries: number) => WinrmConnection,
    command: string,
    input: { bytes: Buffer; isLast: boolean },
    { signal, busyMs = 5_000 }: { signal?: AbortSignal; busyMs?: number | undefined } = {},
  ): Promise<boolean> {
    const fromMs = performance.now();
    for (let tries = 1; ; tries += 1) {
      const connection = connectionOf(tries);
      const message = sendMessage(addressingOf(connection), this.id, command, input);
      const reply = await connection.request(message, { timeoutMs: pollTimeoutMs, once: true, signal });
      try {
        readReply(reply);
        return true;
      } catch (error) {
        if (!(error instanceof WinrmError)) throw error;
        if (error.kind === 'poll_again' || error.code === faultCodes.timeout) return false;
        const mayRepeat = error.code === faultCodes.busy && connection.areRepliesProven;
        if (!mayRepeat || performance.now() - fromMs > maxBusyMs) throw error;
      }
      await pause(busyMs, signal);
    }
  }

  async signal(
    connection: WinrmConnection,
    command: string,
    code: (typeof signals)[keyof typeof signals],
    signal?: AbortSignal,
  ): Promise<void> {
    readReply(
      await connection.request(
        signalMessage(addressingOf(connection), this.id, command, code),
        answering(signal),
      ),
    );
  }

  /** Ends everything in the shell. Resolves when the host says that the shell is gone. */
  async delete(connection: WinrmConnection, signal?: AbortSignal): Promise<void> {
    if (this.#deleted) return;
    try {
      await this.#delete(connection, signal);
    } catch (error) {
      if (!(error instanceof WinrmError) || !isLost(error)) throw error;
      await this.#delete(connection, signal);
    }
    this.#deleted = true;
  }

  async #delete(connection: WinrmConnection, signal: AbortSignal | undefined): Promise<void> {
    try {
      const message = deleteMessage(addressingOf(connection), this.id);
      readReply(await connection.request(message, answering(signal)));
    } catch (error) {
      if (!(error instanceof WinrmError) || error.kind !== 'shell_gone') throw error;
    }
  }
}

/** The host may have acted on the request, but its reply is lost. */
export function isLost(error: WinrmError): boolean {
  return error.kind === 'ambiguous' || error.kind === 'no_answer';
}

/** How much of a command's input one message holds: a multiple of three, which fits into the envelope as base64. */
export function inputBytesPerMessage(connection: WinrmConnection): number {
  const overhead = 3_000;
  return Math.floor(((connection.maxEnvelopeBytes - overhead) * 3) / 4 / 3) * 3;
}

function answering(signal: AbortSignal | undefined): RequestOptions {
  return { timeoutMs: answerTimeoutMs, signal };
}
