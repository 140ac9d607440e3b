// Tries on a fresh login what steps will need there: a shell that runs a command, and SFTP.
import { randomBytes } from 'node:crypto';
import type { ClientChannel } from 'ssh2';
import { visible } from '../command-line/visible.ts';
import { openSftp } from '../sftp/remote/open-sftp.ts';
import { type ChannelExit, exitOf, type SshConnection } from '../ssh/connection.ts';
import { SshError } from '../ssh/ssh-error.ts';
import { abortable } from '../timing/abortable.ts';

export interface LoginCheck {
  host: string;
  user: string;
  /** Ends the wait for the shell. */
  shellLimit: AbortSignal;
  /** Ends the wait for SFTP. */
  sftpLimit: AbortSignal;
  /** Masks secrets in what the shell printed. */
  masked(text: string): string;
}

/** How much of what the shell prints is kept, and how much of that is quoted. */
const maxSaidBytes = 16 * 1024;
const maxQuoted = 300;
const maxSftpTries = 4;

/**
 * Returns one sentence on what works there. Rejects with an `SshError` if no step could do anything, although the login
 * works.
 */
export async function checkLogin(connection: SshConnection, check: LoginCheck): Promise<string> {
  let refusal: SshError | undefined;
  try {
    await runCommand(connection, check);
  } catch (error) {
    if (!(error instanceof SshError)) throw error;
    refusal = error;
  }
  // A lost connection says nothing about SFTP.
  if (refusal !== undefined && !connection.open) throw refusal;
  const sftp = await trySftp(connection, check);
  if (refusal === undefined) {
    if (sftp === undefined) return 'The login works, a command ran, and SFTP answers.';
    const what = sftp.reason === 'sftp_missing' ? 'there is no SFTP' : 'SFTP did not answer';
    return `The login works and a command ran, but ${what}: ${sftp.message} ${sftp.advice}`;
  }
  if (sftp !== undefined) throw refusal;
  return `The login works, but only for files: SFTP answers, and no command runs. ${refusal.message}`;
}

/** Rejects with an `SshError` that says why no command runs. */
async function runCommand(connection: SshConnection, check: LoginCheck): Promise<void> {
  const word = randomBytes(16).toString('hex');
  const opening = connection.exec('exec /bin/sh');
  const channel = await abortable(opening, check.shellLimit).catch((error: unknown) => {
    opening.then((late) => late.close()).catch(() => {});
    throw check.shellLimit.aborted ? saidNothing(check, '') : error;
  });
  const said = await heard(channel, word, check.shellLimit);
  if (said === undefined) return;
  if (!connection.open) throw lost(check);
  const exit = exitOf(channel);
  throw exit === undefined ? saidNothing(check, said) : shellEnded(check, said, exit);
}

/** Resolves with undefined once the shell has said the word, or with all that it printed if it did not. */
function heard(channel: ClientChannel, word: string, limit: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    let hasSaid = false;
    const take = (bytes: Buffer) => {
      text = (text + bytes.toString('utf8')).slice(-maxSaidBytes);
      if (!text.includes(word)) return;
      hasSaid = true;
      channel.close();
    };
    const onLimit = () => channel.close();
    limit.addEventListener('abort', onLimit);
    channel.on('data', take);
    channel.stderr.on('data', take);
    channel.on('error', () => {});
    // Waits for the close also after the word: a server may allow one session at a time.
    const isClosed = [channel, channel.stderr].map(
      (stream) => new Promise((end) => stream.once('close', end)),
    );
    const late = new Promise((end) => limit.addEventListener('abort', end));
    void Promise.race([Promise.all(isClosed), late]).then(() => {
      limit.removeEventListener('abort', onLimit);
      resolve(hasSaid ? undefined : text);
    });
    channel.end(`echo ${word}\n`);
  });
}

/** Returns undefined if SFTP answers, otherwise why it does not. */
async function trySftp(
  connection: SshConnection,
  { host, sftpLimit }: LoginCheck,
): Promise<SshError | undefined> {
  for (let tries = 1; ; tries += 1) {
    const opening = openSftp(connection, host, undefined);
    try {
      (await abortable(opening, sftpLimit)).close();
      return undefined;
    } catch (error) {
      opening.then((late) => late.close()).catch(() => {});
      if (sftpLimit.aborted) return refused('It took too long.', 'File steps need it, except ssh.copy.');
      if (!(error instanceof SshError)) throw error;
      // A server that allows one session may still count the shell's.
      if (error.reason !== 'channel_refused' || !connection.open || tries >= maxSftpTries) return error;
      await new Promise((resolve) => setTimeout(resolve, 100 * tries));
    }
  }
}

interface Cause {
  pattern: RegExp;
  what: (user: string, host: string) => string;
  advice: string;
}

/** What shells and SSH servers print that let nobody run a command. */
const causes: readonly Cause[] = [
  {
    pattern: /passwor[dt] (?:has |is )?expired|passwor[dt] change required|change your passwor[dt]/i,
    what: (user, host) => `The password of ${user} on ${host} has expired, so no command runs there`,
    advice:
      'Set a new password on the host, or have it never expire (chage -M -1). If the credential holds the password, store it again.',
  },
  {
    pattern: /account has expired|account expired/i,
    what: (user, host) => `The account of ${user} on ${host} has expired, so no command runs there`,
    advice: 'Extend it on the host (chage -E -1).',
  },
  {
    pattern: /sftp connections only|\bsftp\b.*\bonly\b|\bonly\b.*\bsftp\b/i,
    what: (user, host) => `${host} lets ${user} only transfer files (ForceCommand internal-sftp)`,
    advice: 'Steps that run commands need another user, or another rule in sshd_config.',
  },
  {
    pattern: /account is (?:currently )?not available|nologin/i,
    what: (user, host) => `The login shell of ${user} on ${host} lets nobody run a command`,
    advice:
      'Give the account a shell (chsh -s /bin/sh), or log in as another user. A jump host that is only passed through needs none.',
  },
  {
    pattern: /restricted/i,
    what: (user, host) => `The login shell of ${user} on ${host} is restricted, and does not start /bin/sh`,
    advice: 'Give the account an ordinary shell (chsh -s /bin/sh), or log in as another user.',
  },
];

function shellEnded(
  { host, user, masked }: LoginCheck,
  said: string,
  { code, signal }: ChannelExit,
): SshError {
  const how = code === null ? `signal ${signal}` : `exit code ${code}`;
  const known = causes.find(({ pattern }) => pattern.test(said));
  const what =
    known?.what(user, host) ?? `The login shell of ${user} on ${host} ended without running a command`;
  return refused(
    `${what} (${how})${quoted(masked(said))}.`,
    known?.advice ??
      'Look at the account’s login shell, its startup files, and ForceCommand in sshd_config; /bin/sh must exist. A jump host that is only passed through needs no shell.',
  );
}

function saidNothing({ host, user, masked }: LoginCheck, said: string): SshError {
  return refused(
    `The login works, but the login shell of ${user} on ${host} did not run a command in time${quoted(masked(said))}.`,
    'Find out what it waits for: a startup file, a home directory on a file server that does not answer, or a forced command.',
  );
}

function lost({ host }: LoginCheck): SshError {
  return new SshError({
    reason: 'unreachable',
    message: `The login works, but ${host} closed the connection before a command ran.`,
    advice: "Look at the SSH server's log, and at what the account's session runs (PAM, ForceCommand).",
  });
}

function refused(message: string, advice: string): SshError {
  return new SshError({ reason: 'channel_refused', message, advice });
}

function quoted(said: string): string {
  const words = visible(said.replace(/\s+/g, ' ').trim());
  if (words === '') return '';
  return `. It printed: “${words.length > maxQuoted ? `…${words.slice(-maxQuoted)}` : words.replace(/\.$/, '')}”`;
}
