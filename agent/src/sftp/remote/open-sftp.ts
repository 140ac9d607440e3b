// From a connection to an SFTP session on it: with the server's subsystem, or with its program as another user.
import type { ClientChannel } from 'ssh2';
import type { Become } from '../../ssh/become/become.ts';
import { startAs } from '../../ssh/become/start-as.ts';
import { type ChannelExit, connectionLost, exitOf, type SshConnection } from '../../ssh/connection.ts';
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

/** Where the session is, and as whom it goes where that isn't who logs in. */
interface Served {
  host: string;
  become: Become | undefined;
}

/** Rejects with `sftp_missing` where the server has none, or with what opening a channel fails with. */
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

/** What a channel talks to becomes a session. Rejects as `openSftp` does. */
export async function sessionOn(
  channel: ClientChannel,
  { serverVersion }: Pick<SshConnection, 'serverVersion'>,
  { host, become }: Served,
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
    if (error.why !== 'closed') throw noSftp(error, become);
    // What ends by itself says how, after the end of what it sends; a connection that is lost doesn't.
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
      'Install the one of OpenSSH (openssh-sftp-server on Debian), or use ssh.copy, which can do without.',
  });
}

/** What was started has ended before it said anything. */
export function endedAtOnce({ signal, code }: ChannelExit, { host, become }: Served): SshError {
  const cause = new Error(`it ended with ${signal ?? `exit code ${code}`}`);
  if (become === undefined) return sftpMissing(cause);
  const { user } = become;
  // The subsystem of sshd_config has no part in it: it is the program itself that doesn't stay.
  return new SshError({
    reason: 'sftp_missing',
    message: `The sftp-server that was started as ${user} on ${host} ended at once (${cause.message}).`,
    advice: `Start it as ${user} there by hand to see why: what is in its place, or what that user may not run or read. ssh.copy can do without.`,
    cause,
  });
}

function noSftp(cause: WireOver, become: Become | undefined): SshError {
  return new SshError({
    reason: 'sftp_missing',
    message: `What answered in place of SFTP is something else (${cause.message}).`,
    advice: become === undefined ? adviceOnSubsystem(cause) : adviceOnProgram(become),
    cause,
  });
}

function adviceOnSubsystem({ why }: WireOver): string {
  return why === 'noise'
    ? "A start-up file of the user's shell prints something: it must be quiet where there is no terminal."
    : "Look at the Subsystem line in sshd_config, and at the user's shell: something there waits for ever.";
}

function adviceOnProgram({ user }: Become): string {
  return `Start sftp-server as ${user} there by hand to see what is in its place, or use ssh.copy, which can do without.`;
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
