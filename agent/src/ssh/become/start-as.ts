// Starts programs as another user that speak a protocol on their channel from the first byte, as SFTP does.
import { randomBytes } from 'node:crypto';
import type { ClientChannel } from 'ssh2';
import { exitOf, type SshConnection } from '../connection.ts';
import { SshError } from '../ssh-error.ts';
import type { Become } from './become.ts';
import { becomeShell } from './become-shell.ts';

/** Time for the other user's shell to read and run one line, in ms. */
const timeoutMs = 30_000;
const maxSaidBytes = 4096;

/**
 * Turns the other user's shell, in that user's home directory, into the program. Resolves once the shell has echoed the
 * word: what is sent after that goes to the program, and the shell reads none of it as script.
 *
 * @param script one line that echoes the given word, followed on the same line by anything it has to report, and then
 * becomes the program (`exec`)
 * @returns the channel, and what the script reported after the word
 * @throws SshError for the same reasons as `becomeShell`; nothing was started then
 */
export async function startAs(
  connection: SshConnection,
  become: Become,
  script: (word: string) => string,
): Promise<{ channel: ClientChannel; said: string }> {
  const channel = await becomeShell(connection, become);
  const word = randomBytes(16).toString('hex');
  const heard = saidBehind(channel, word, become);
  channel.write(`cd 2>/dev/null; ${script(word)}\n`);
  try {
    return { channel, said: await heard };
  } catch (error) {
    channel.close();
    throw error;
  }
}

/** Runs a command in the login shell, or in the other user's shell. The command begins with `exec`. */
export async function startShell(
  connection: SshConnection,
  become: Become | undefined,
  command: string,
): Promise<ClientChannel> {
  if (become === undefined) return connection.exec(command);
  const { channel } = await startAs(connection, become, (word) => `echo ${word}; ${command}`);
  return channel;
}

function saidBehind(channel: ClientChannel, word: string, become: Become): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const finish = (settle: () => void) => {
      clearTimeout(timer);
      channel.off('data', onData);
      channel.off('close', onClose);
      settle();
    };
    const onData = (bytes: Buffer) => {
      text = (text + bytes.toString('latin1')).slice(-maxSaidBytes);
      const said = new RegExp(`${word}(.*)\\n`).exec(text)?.[1];
      if (said !== undefined) finish(() => resolve(said.trim()));
    };
    const onClose = () => {
      const exit = exitOf(channel);
      const how = exit === undefined ? 'the connection was lost' : (exit.signal ?? `exit code ${exit.code}`);
      finish(() => reject(notStarted(become, `ended (${how})`)));
    };
    const timer = setTimeout(
      () => finish(() => reject(notStarted(become, `said nothing for ${timeoutMs / 1000} s`))),
      timeoutMs,
    );
    channel.stderr.resume();
    channel.on('data', onData);
    channel.on('close', onClose);
  });
}

function notStarted({ user }: Become, what: string): SshError {
  return new SshError({
    reason: 'become_refused',
    message: `The shell of ${user} ${what} before it started anything.`,
    advice:
      'Check what keeps env and /bin/sh from running as that user: a restricted login shell, or the secure_path of sudo.',
  });
}
