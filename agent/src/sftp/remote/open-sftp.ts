// From a connection to an SFTP session on it.
import type { ClientChannel } from 'ssh2';
import { connectionLost, exitOf, type SshConnection } from '../../ssh/connection.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import { SftpSession } from './sftp-session.ts';
import { SftpWire, WireOver } from './wire/sftp-wire.ts';

/** Rejects with `sftp_missing` where the server has none, or with what opening a channel fails with. */
export async function openSftp(connection: SshConnection, host: string): Promise<SftpSession> {
  const channel = await connection.subsystem('sftp').catch((error: unknown) => {
    throw isRefusedSubsystem(error) ? sftpMissing(error.cause as Error) : error;
  });
  return sessionOn(channel, connection, host);
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
    await closed;
    const exit = exitOf(channel);
    if (exit === undefined) throw connectionLost(error);
    throw sftpMissing(new Error(`it ended with ${exit.signal ?? `exit code ${exit.code}`}`));
  }
}

function isRefusedSubsystem(error: unknown): error is SshError {
  return error instanceof SshError && /subsystem/i.test(String(error.cause));
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
