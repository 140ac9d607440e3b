// From a connection to an SFTP session on it: with the server's subsystem, or with its program as another user.
import type { ClientChannel } from 'ssh2';
import type { Become } from '../../ssh/become/become.ts';
import { startAs } from '../../ssh/become/start-as.ts';
import { connectionLost, exitOf, type SshConnection } from '../../ssh/connection.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import { SftpSession } from './sftp-session.ts';
import { SftpWire, WireOver } from './wire/sftp-wire.ts';

/** Where distributions and systems have OpenSSH's program for SFTP. */
const programs = [
  '/usr/lib/openssh/sftp-server',
  '/usr/libexec/openssh/sftp-server',
  '/usr/lib/ssh/sftp-server',
  '/usr/libexec/sftp-server',
  '/usr/lib/sftp-server',
  '/usr/local/libexec/sftp-server',
];

/** For a server to say how what it started has ended. */
const endMs = 5_000;

/** Rejects with `sftp_missing` where the server has none, or with what opening a channel fails with. */
export async function openSftp(
  connection: SshConnection,
  host: string,
  become: Become | undefined,
): Promise<SftpSession> {
  const channel = await (become === undefined ? subsystem(connection) : programAs(connection, become, host));
  return sessionOn(channel, connection, host);
}

function subsystem(connection: SshConnection): Promise<ClientChannel> {
  return connection.subsystem('sftp').catch((error: unknown) => {
    throw isRefusedSubsystem(error) ? sftpMissing(error.cause as Error) : error;
  });
}

async function programAs(connection: SshConnection, become: Become, host: string): Promise<ClientChannel> {
  const { channel, said } = await startAs(connection, become, (word) =>
    [
      `for p in ${programs.join(' ')} "$(command -v sftp-server)"`,
      `do [ -x "$p" ] && { echo "${word} found"; exec "$p"; }; done`,
      `echo "${word} none"`,
    ].join('; '),
  );
  if (said === 'found') return channel;
  channel.close();
  throw programMissing(host, become);
}

async function sessionOn(
  channel: ClientChannel,
  { serverVersion }: SshConnection,
  host: string,
): Promise<SftpSession> {
  channel.stderr.resume();
  const closed = new Promise((resolve) => channel.once('close', resolve));
  // Dropbear brings none of its own, and is given OpenSSH's.
  const isOpenSsh = /^SSH-2\.0-(OpenSSH|dropbear)/.test(serverVersion);
  try {
    return new SftpSession(await SftpWire.open(channel, { isOpenSsh }), host, { isOpenSsh });
  } catch (error) {
    channel.close();
    if (!(error instanceof WireOver)) throw error;
    if (error.why !== 'closed') throw noSftp(error);
    // What ends by itself says how, after the end of what it sends; a connection that is lost doesn't.
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([closed, new Promise((resolve) => (timer = setTimeout(resolve, endMs)))]);
    clearTimeout(timer);
    const exit = exitOf(channel);
    if (exit === undefined) throw connectionLost(error);
    throw sftpMissing(new Error(`it ended with ${exit.signal ?? `exit code ${exit.code}`}`));
  }
}

function isRefusedSubsystem(error: unknown): error is SshError {
  return error instanceof SshError && /subsystem/i.test(String(error.cause));
}

function programMissing(host: string, { user }: Become): SshError {
  return new SshError({
    reason: 'sftp_missing',
    message: `There is no sftp-server on ${host} that ${user} could run.`,
    advice:
      'Install the one of OpenSSH (openssh-sftp-server on Debian), or use ssh.copy, which can do without.',
  });
}

function noSftp(cause: WireOver): SshError {
  return new SshError({
    reason: 'sftp_missing',
    message: `What answered in place of SFTP is something else (${cause.message}).`,
    advice:
      cause.why === 'noise'
        ? "A start-up file of the user's shell prints something: it must be quiet where there is no terminal."
        : "Look at the Subsystem line in sshd_config, and at the user's shell: something there waits for ever.",
    cause,
  });
}

function sftpMissing(cause: Error): SshError {
  return new SshError({
    reason: 'sftp_missing',
    message: `The server has no SFTP for this user (${cause.message}).`,
    advice:
      'Enable the sftp subsystem in sshd_config (Subsystem sftp internal-sftp), or use ssh.copy, which can do without.',
    cause,
  });
}
