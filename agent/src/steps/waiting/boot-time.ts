// When a target was started: by the id of its boot, or by how long it has been up.
import { runScript, type StopTarget } from '../../ssh/run-script.ts';
import { newNonce } from '../ssh-exec/bootstrap-report.ts';

export interface BootTime {
  /**
   * Another one with each start; undefined where the target tells none. One that begins with `clock` is the time of its start, where there
   * is nothing better: kernels reckon it from their clock, so that it moves when that is set.
   */
  id: string | undefined;
  /** Undefined where the target does not tell. */
  upMs: number | undefined;
}

/** Rejects with an `SshError` where the target can't be asked. */
export async function readBootTime(target: StopTarget): Promise<BootTime> {
  const nonce = newNonce();
  const said = await runScript(target, bootScript(nonce));
  const id = new RegExp(`^${nonce} id (.*)$`, 'm').exec(said)?.[1]?.trim();
  const up = new RegExp(`^${nonce} up (\\d+(?:\\.\\d+)?)$`, 'm').exec(said)?.[1];
  return {
    id: id === undefined || id === '' || id === 'clock' ? undefined : id.slice(0, 200),
    upMs: up === undefined ? undefined : Number(up) * 1_000,
  };
}

/** Whether the target was started since it was asked to, that long ago; undefined where that can't be told. */
export function hasRestarted(
  now: BootTime,
  before: string | undefined,
  askedMsAgo: number,
): boolean | undefined {
  const { id, upMs } = now;
  const isSame = id === before;
  if (id !== undefined && before !== undefined && !isOfClock(id) && !isOfClock(before)) return !isSame;
  // Both are durations, whatever the clock was set to meanwhile. One that is as it was says enough.
  if (upMs !== undefined) return upMs < askedMsAgo && !(isOfClock(id) && isSame);
  if (/^clock (\{|\d+$)/.test(id ?? '')) return false;
  // A record of the start keeps its text.
  return id === undefined || !isOfClock(before) ? undefined : !isSame;
}

/** The second form is what earlier versions of the agent noted. */
function isOfClock(id: string | undefined): boolean {
  return id?.startsWith('clock ') === true || id?.startsWith('{') === true;
}

/** To be seen by tests. */
export function bootScript(nonce: string): string {
  return [
    '{',
    // Linux, macOS, FreeBSD; then what the others have. OpenBSD's time of the start is plain seconds.
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
