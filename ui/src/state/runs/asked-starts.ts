// Starts of runs whose answer was lost. The person may have closed the dialog and opened it again, so they are kept for
// as long as the document lives, per user.
import type { RerunRequest, StartRunRequest } from '@opsconductor/protocol';
import { AskedOnce } from './asked-once.ts';

const starts = new Map<string, AskedOnce<StartRunRequest>>();
const reruns = new Map<string, AskedOnce<RerunRequest>>();

export function startsOf(userId: number | undefined, jobId: number): AskedOnce<StartRunRequest> {
  return kept(starts, `${userId} ${jobId}`);
}

export function rerunsOf(userId: number | undefined, runId: number): AskedOnce<RerunRequest> {
  return kept(reruns, `${userId} ${runId}`);
}

function kept<Body>(of: Map<string, AskedOnce<Body>>, key: string): AskedOnce<Body> {
  const asked = of.get(key) ?? new AskedOnce<Body>();
  of.set(key, asked);
  return asked;
}

let key: Promise<CryptoKey> | undefined;

/** Returns a keyed hash of secrets, to compare them without keeping them in memory. No script can read the key. */
export async function unreadable(secrets: Readonly<Record<string, string>>): Promise<string> {
  if (Object.keys(secrets).length === 0) return '';
  key ??= crypto.subtle.generateKey({ name: 'HMAC', hash: 'SHA-256' }, false, ['sign']) as Promise<CryptoKey>;
  const mark = await crypto.subtle.sign('HMAC', await key, new TextEncoder().encode(JSON.stringify(secrets)));
  return Array.from(new Uint8Array(mark), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
