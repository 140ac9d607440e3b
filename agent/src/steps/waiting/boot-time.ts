// When a target was started: by the id of its boot, or by how long it has been up.
import { runScript, type StopTarget } from '../../ssh/run-script.ts';
import { newNonce } from '../ssh-exec/bootstrap-report.ts';

export interface BootTime {
  /** Another one with each start; undefined where the target tells none. */
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
    id: id === undefined || id === '' ? undefined : id.slice(0, 200),
    upMs: up === undefined ? undefined : Number(up) * 1_000,
  };
}

/** Whether the target was started since it was asked to, that long ago; undefined where that can't be told. */
export function hasRestarted(
  now: BootTime,
  before: string | undefined,
  askedMsAgo: number,
): boolean | undefined {
  if (now.id !== undefined && before !== undefined) return now.id !== before;
  return now.upMs === undefined ? undefined : now.upMs < askedMsAgo;
}

function bootScript(nonce: string): string {
  return [
    '{',
    // Linux; then the BSDs and macOS; then whatever keeps a record of it.
    'b=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || sysctl -n kern.boottime 2>/dev/null || who -b 2>/dev/null)',
    `echo "${nonce} id "$b`,
    `{ read -r u x </proc/uptime; } 2>/dev/null && echo "${nonce} up $u"`,
    'exit 0',
    '}',
    '',
  ].join('\n');
}
