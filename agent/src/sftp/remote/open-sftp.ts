// Opens an SFTP session on a connection: through the server's subsystem, or by running sftp-server as another user.
import type { ClientChannel } from 'ssh2';
import type { Become } from '../../ssh/become/become.ts';
import { startAs } from '../../ssh/become/start-as.ts';
import { type ChannelExit, connectionLost, exitOf, type SshConnection } from '../../ssh/connection.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import { SftpSession } from './sftp-session.ts';
import { SftpWire, WireOver } from './wire/sftp-wire.ts';

/** Paths of OpenSSH's sftp-server on the various systems. */
const programs = [
  '/usr/lib/openssh/sftp-server',
  '/usr/libexec/openssh/sftp-server',
  '/usr/lib/ssh/sftp-server',
  '/usr/libexec/sftp-server',
  '/usr/lib/sftp-server',
  '/usr/local/libexec/sftp-server',
];

/** Time for a server to report how the program it started ended, in ms. */
const endMs = 5_000;

/** The session's host, and its user if that isn't the login user. */
interface Served {
  host: string;
  become: Become | undefined;
}

/** Opens a session. Rejects with `sftp_missing` if the server has no SFTP, or with the error of opening a channel. */
export async function openSftp(
  connection: SshConnection,
  host: string,
  become: Become | undefined,
): Promise<SftpSession> {
  const channel = await (become === undefined ? subsystem(connection) : programAs(connection, become, host));
  return sessionOn(channel, connection, { host, become });
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

/** Makes a session of a channel. Rejects as `openSftp` does. */
export async function sessionOn(
  channel: ClientChannel,
  { serverVersion }: Pick<SshConnection, 'serverVersion'>,
  { host, become }: Served,
): Promise<SftpSession> {
  channel.stderr.resume();
  const closed = new Promise((resolve) => channel.once('close', resolve));
  // Dropbear has no SFTP server of its own and uses OpenSSH's.
  const isOpenSsh = /^SSH-2\.0-(OpenSSH|dropbear)/.test(serverVersion);
  try {
    return new SftpSession(await SftpWire.open(channel, { isOpenSsh }), host, { isOpenSsh });
  } catch (error) {
    channel.close();
    if (!(error instanceof WireOver)) throw error;
    if (error.why !== 'closed') throw noSftp(error, become);
    // If the program ended by itself, its exit status follows the end of its output; after a lost connection none
    // comes.
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([closed, new Promise((resolve) => (timer = setTimeout(resolve, endMs)))]);
    clearTimeout(timer);
    const exit = exitOf(channel);
    if (exit === undefined) throw connectionLost(error);
    throw endedAtOnce(exit, { host, become });
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
      'Install the one of OpenSSH (openssh-sftp-server on Debian), or use ssh.copy, which works without it.',
  });
}

/** Returns the error for a program that ended before it said anything. */
export function endedAtOnce({ signal, code }: ChannelExit, { host, become }: Served): SshError {
  const cause = new Error(`it ended with ${signal ?? `exit code ${code}`}`);
  if (become === undefined) return sftpMissing(cause);
  const { user } = become;
  // The subsystem of sshd_config plays no part here: the program itself ended.
  return new SshError({
    reason: 'sftp_missing',
    message: `The sftp-server that was started as ${user} on ${host} ended at once (${cause.message}).`,
    advice: `Start it as ${user} there by hand to see why: what is in its place, or what that user may not run or read. ssh.copy works without it.`,
    cause,
  });
}

function noSftp(cause: WireOver, become: Become | undefined): SshError {
  return new SshError({
    reason: 'sftp_missing',
    message: `Something other than SFTP answered (${cause.message}).`,
    advice: become === undefined ? adviceOnSubsystem(cause) : adviceOnProgram(become),
    cause,
  });
}

function adviceOnSubsystem({ why }: WireOver): string {
  return why === 'noise'
    ? "A startup file of the user's shell prints something: it must print nothing if there is no terminal."
    : "Look at the Subsystem line in sshd_config, and at the user's shell: something there waits forever.";
}

function adviceOnProgram({ user }: Become): string {
  return `Start sftp-server as ${user} there by hand to see what is in its place, or use ssh.copy, which works without it.`;
}

function sftpMissing(cause: Error): SshError {
  return new SshError({
    reason: 'sftp_missing',
    message: `The server has no SFTP for this user (${cause.message}).`,
    advice:
      'Enable the sftp subsystem in sshd_config (Subsystem sftp internal-sftp), or use ssh.copy, which works without it.',
    cause,
  });
}
