// Opens a shell of another user on a target, ready to read a script.
import { randomBytes } from 'node:crypto';
import type { ClientChannel } from 'ssh2';
import { exitOf, type SshConnection } from '../connection.ts';
import { SshError } from '../ssh-error.ts';
import type { Become } from './become.ts';
import { BecomeDialog, becomeCommand } from './become-dialog.ts';

/** Time for sudo or su to answer, in ms. After a wrong password they wait for seconds on purpose. */
const timeoutMs = 30_000;

/** Starts a shell for our own scripts, whose processes must not carry an attempt's marker. */
function startPlainShell(connection: SshConnection): Promise<ClientChannel> {
  return connection.exec('exec /bin/sh');
}

/** Returns a function that does the same as the user that the scripts are to run as. */
export function plainShellFor(become: Become | undefined): typeof startPlainShell {
  return become === undefined ? startPlainShell : (connection) => becomeShell(connection, become);
}

/**
 * Opens a channel with a shell of the other user that waits for a script.
 *
 * @param options `marker`: put into the environment of that shell; `pty`: whether it runs in a terminal
 * @throws SshError `become_password_missing`, `become_refused`, or the error of opening a channel; nothing was started
 * then
 */
export async function becomeShell(
  connection: SshConnection,
  become: Become,
  { marker, pty = false }: { marker?: string | undefined; pty?: boolean } = {},
): Promise<ClientChannel> {
  const nonce = randomBytes(16).toString('hex');
  const channel = await connection.exec(becomeCommand(become, nonce, { marker, pty }), { pty });
  try {
    await talk(channel, become, new BecomeDialog(become.method, nonce));
    return channel;
  } catch (error) {
    channel.close();
    throw error;
  }
}

function talk(channel: ClientChannel, become: Become, dialog: BecomeDialog): Promise<void> {
  const { method, user, password } = become;
  return new Promise((resolve, reject) => {
    let answered = false;
    const finish = (end: () => void) => {
      clearTimeout(timer);
      channel.off('data', onStdout);
      channel.stderr.off('data', onStderr);
      end();
    };
    const refuse = (message: string, advice: string, reason: SshError['reason'] = 'become_refused') =>
      finish(() => reject(new SshError({ reason, message, advice })));
    const onAsked = () => {
      if (password === undefined) {
        const message = `${method} asks for a password to become ${user}, and the credential holds none for that.`;
        const advice =
          method === 'sudo'
            ? 'Store the credential again with a password for sudo, or let sudo ask for none (NOPASSWD).'
            : 'Store the credential again with the password of that user.';
        refuse(message, advice, 'become_password_missing');
      } else if (answered) {
        refuse(
          `${method} did not take the password to become ${user}.`,
          'Store the credential again with the right password, and check that the account is not locked.',
        );
      } else {
        answered = true;
        channel.write(`${password}\n`);
      }
    };
    const take = (stream: 'stdout' | 'stderr', bytes: Buffer) => {
      const news = dialog.push(stream, bytes);
      if (news === 'in') finish(resolve);
      else if (news === 'asked') onAsked();
    };
    const onStdout = (bytes: Buffer) => take('stdout', bytes);
    const onStderr = (bytes: Buffer) => take('stderr', bytes);
    const timer = setTimeout(
      () =>
        refuse(
          `${method} did not let ${user} in within ${timeoutMs / 1000} s${saying(dialog)}.`,
          'Try it on the host as this user: it may ask for more than a password, or the host may run one fixed command only (ForceCommand in sshd_config).',
        ),
      timeoutMs,
    );
    channel.on('data', onStdout);
    channel.stderr.on('data', onStderr);
    // Wait for both streams: the exit may arrive before the last output.
    const closed = [channel, channel.stderr].map((stream) => new Promise((end) => stream.once('close', end)));
    void Promise.all(closed).then(() => refuse(...refusal(become, dialog, exitOf(channel)?.code)));
  });
}

/** What OpenSSH says with internal-sftp as its only command, and shells that let nobody run one. */
const runsNoCommands =
  /\bsftp\b.*\bonly\b|\bonly\b.*\bsftp\b|account is (?:currently )?not available|restricted by rssh/i;

function refusal(
  { method, user }: Become,
  dialog: BecomeDialog,
  code: number | null | undefined,
): [string, string] {
  if (dialog.isMissing)
    return [`There is no ${method} on the host.`, `Install ${method}, or use another method.`];
  if (runsNoCommands.test(dialog.said)) {
    return [
      `The host runs no commands for the login user, so it can’t become ${user}${saying(dialog)}.`,
      `Allow that user a shell (ForceCommand in sshd_config, and the shell of the account), do without become, or log in as ${user}.`,
    ];
  }
  if (/tty|terminal/i.test(dialog.said)) {
    return [
      `${method} wants a terminal to become ${user}${saying(dialog)}.`,
      'Take requiretty out of the sudoers file for this user; of an ssh.exec step pty can be set to true instead.',
    ];
  }
  const how = code === undefined || code === null ? '' : ` (exit code ${code})`;
  return [
    `${method} did not let this user become ${user}${how}${saying(dialog)}.`,
    method === 'sudo'
      ? 'Check the sudoers file of the host, the password, and whether the account is locked.'
      : 'Check the password of that user, that it has a login shell, and who may use su there.',
  ];
}

function saying({ said }: BecomeDialog): string {
  return said === '' ? '' : `: ${said.replace(/\.$/, '')}`;
}
