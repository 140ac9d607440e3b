// Finds out whether a target was restarted, from its boot id or from how long it has been up.
import { runScript, type ScriptTarget } from '../../ssh/run-script.ts';
import { newNonce } from '../ssh-exec/bootstrap-report.ts';

export interface BootTime {
  /**
   * Differs after each boot; undefined if the target has none. An id that begins with `clock` is the time of the boot,
   * used if there is nothing better. Kernels derive that time from their clock, so it changes when the clock is set.
   */
  id: string | undefined;
  /** Time since the boot, in ms; undefined if the target does not tell. */
  upMs: number | undefined;
}

/** Reads the target's boot id and uptime. Rejects with an `SshError` if the target can't be asked. */
export async function readBootTime(target: ScriptTarget): Promise<BootTime> {
  const nonce = newNonce();
  const said = await runScript(target, bootScript(nonce));
  // What a startup file printed may be in front, on the same line.
  const id = new RegExp(`${nonce} id (.*)$`, 'm').exec(said)?.[1]?.trim();
  const up = new RegExp(`${nonce} up (\\d+(?:\\.\\d+)?)$`, 'm').exec(said)?.[1];
  return {
    id: id === undefined || id === '' || id === 'clock' ? undefined : id.slice(0, 200),
    upMs: up === undefined ? undefined : Number(up) * 1_000,
  };
}

/** Returns whether the target has booted since it was asked to, `askedMsAgo` ago; undefined if that can't be told. */
export function hasRestarted(
  now: BootTime,
  before: string | undefined,
  askedMsAgo: number,
): boolean | undefined {
  const { id, upMs } = now;
  const isSame = id === before;
  if (id !== undefined && before !== undefined && !isOfClock(id) && !isOfClock(before)) return !isSame;
  // Both are durations, so setting the clock doesn't matter. An unchanged id is enough to say that it has not
  // restarted.
  if (upMs !== undefined) return upMs < askedMsAgo && !(isOfClock(id) && isSame);
  if (/^clock (\{|\d+$)/.test(id ?? '')) return false;
  // A record of the boot, as `who -b` prints it, keeps its text until the next boot.
  return id === undefined || !isOfClock(before) ? undefined : !isSame;
}

/** Earlier versions of the agent recorded ids of the second form. */
function isOfClock(id: string | undefined): boolean {
  return id?.startsWith('clock ') === true || id?.startsWith('{') === true;
}

/** Exported for tests. */
export function bootScript(nonce: string): string {
  return [
    '{',
    // Linux, macOS, FreeBSD; then what other systems have. OpenBSD's kern.boottime is plain seconds.
    'b=$(cat /proc/sys/kernel/random/boot_id || sysctl -n kern.bootsessionuuid || sysctl -nx kern.boot_id)',
    's=; [ -r /proc/uptime ] || s=$(sysctl -n kern.boottime)',
    '[ -n "$b" ] || b="clock "$(echo "$s" | grep -e "^{" -e "^[0-9][0-9]*$" || who -b || echo "$s")',
    `echo "${nonce} id "$b`,
    's=$(echo "$s" | sed -n -e "s/^{ sec = \\([0-9]*\\).*/\\1/" -e "/^[0-9][0-9]*$/p")',
    `if read -r u x </proc/uptime; then echo "${nonce} up $u"; elif [ -n "$s" ]; then echo "${nonce} up $(($(date +%s) - s))"; fi`,
    'exit 0',
    '} 2>/dev/null',
    '',
  ].join('\n');
}
