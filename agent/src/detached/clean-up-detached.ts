// Finds and removes what a surviving command has left on its target, knowing only its marker, not the token in the name
// of its directory.

import { runScript, type ScriptTarget } from '../ssh/run-script.ts';
import { newNonce } from '../steps/ssh-exec/bootstrap-report.ts';
import { leaderScript, removeAllScript } from './supervisor-script.ts';

/**
 * Returns the pid of the command's first process, if the attempt has a directory and the target wasn't restarted since.
 */
export async function detachedLeader(target: ScriptTarget, marker: string): Promise<number | undefined> {
  const nonce = newNonce();
  const said = await runScript(target, leaderScript(marker, nonce));
  const match = new RegExp(`${nonce} leader (\\d*)$`, 'm').exec(said);
  if (match === null) throw new Error('the target did not say whether it has files of the attempt');
  return match[1] === '' ? undefined : Number(match[1]);
}

/** Removes all files of an attempt from a target. Rejects if the target does not say that they are gone. */
export async function removeAllDetached(target: ScriptTarget, marker: string): Promise<void> {
  const nonce = newNonce();
  const said = await runScript(target, removeAllScript(marker, nonce));
  if (!said.includes(`${nonce} removed`)) throw new Error('the files of the attempt could not be removed');
}
