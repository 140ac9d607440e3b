// Runs a short script of our own on a target, on whichever connection answers, and reads what it prints.
import { timeLimit } from '@opsconductor/protocol';
import type { ClientChannel } from 'ssh2';
import { GatheredBytes } from '../memory/gathered-bytes.ts';
import { pauseAtMost } from '../timing/pause.ts';
import type { Become } from './become/become.ts';
import { plainShellFor } from './become/become-shell.ts';
import type { OpenRequest, SshPool } from './pool/pool.ts';
import { SshError } from './ssh-error.ts';

/** Where scripts run, as whom, and how long that is tried. */
export interface ScriptTarget {
  pool: SshPool;
  request: Omit<OpenRequest, 'signal' | 'urgent' | 'fresh'>;
  /** The user that the scripts run as, if not the login user. */
  become?: Become | undefined;
  /** Time for one script on one connection, in ms. */
  scriptTimeoutMs: number;
  /** How long a target may stay out of reach before it is given up on, in ms. */
  giveUpAfterMs: number;
  /** Gives up at the first error of the connection: for a caller that asks again by itself. */
  isAskedOnce?: boolean;
  /** Aborts if it is to be given up on earlier. */
  giveUp?: AbortSignal;
}

const maxOutputBytes = 16 * 1024 * 1024;

/**
 * Returns the script's stdout, decoded as Latin-1. Tries a warm connection first and then fresh ones, until
 * `giveUpAfterMs` has passed. Rejects with an `SshError`.
 */
export async function runScript(target: ScriptTarget, script: string | Buffer): Promise<string> {
  const late = timeLimit(target.giveUpAfterMs);
  const giveUp = target.giveUp === undefined ? late : AbortSignal.any([late, target.giveUp]);
  let last: unknown;
  for (let tries = 0; ; tries += 1) {
    const limit = AbortSignal.any([giveUp, timeLimit(target.scriptTimeoutMs)]);
    try {
      return await runOnce(target, script, tries > 0, limit);
    } catch (error) {
      // An earlier SshError says more than our own time limit does.
      if (error instanceof SshError || last === undefined) last = error;
      const hopeless = error instanceof SshError && (!error.retryable || target.isAskedOnce === true);
      if (giveUp.aborted || hopeless) throw outOfReach(target, last);
      await pauseAtMost(Math.min(100 * 2 ** tries, 2000), giveUp);
    }
  }
}

async function runOnce(
  target: ScriptTarget,
  script: string | Buffer,
  fresh: boolean,
  signal: AbortSignal,
): Promise<string> {
  const request = { ...target.request, urgent: true, fresh, signal };
  const pooled = await target.pool.open(request, plainShellFor(target.become));
  try {
    return await talk(pooled.channel, script, signal);
  } finally {
    pooled.channel.close();
    pooled.release();
  }
}

function talk(channel: ClientChannel, script: string | Buffer, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const said = new GatheredBytes();
    let isCut = false;
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort);
    channel.on('data', (bytes: Buffer) => {
      isCut ||= said.length + bytes.length > maxOutputBytes;
      if (!isCut) said.add(bytes);
    });
    channel.stderr.resume();
    channel.on('error', reject);
    channel.once('close', (code: number | null | undefined) => {
      signal.removeEventListener('abort', onAbort);
      if (typeof code === 'number') resolve(said.bytes().toString('latin1'));
      else reject(new Error('the session ended without an exit status'));
    });
    channel.end(script);
  });
}

function outOfReach(target: ScriptTarget, cause: unknown): SshError {
  if (cause instanceof SshError) return cause;
  return new SshError({
    reason: 'unreachable',
    message: `${target.request.target.host} could not be asked within ${target.giveUpAfterMs / 1000} s.`,
    advice: 'Check that the host answers over SSH.',
    retryable: true,
    cause,
  });
}
