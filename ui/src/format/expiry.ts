// How much longer a secret is valid, in words that ask for attention only when the end is near.
import { counted } from './quantity.ts';

const dayMs = 86_400_000;
/** Days before the expiry from which it asks for attention. */
export const warnDays = 30;

export interface Expiry {
  word: string;
  state: 'failed' | 'partial';
}

/** The last day whose expiries ask for attention now, as in `expiresOn`. */
export function lastWarnedDay(nowMs: number): string {
  return new Date((Math.floor(nowMs / dayMs) + warnDays) * dayMs).toISOString().slice(0, 10);
}

/** How many of those that ask for attention are beyond their day, and how many are not yet; undefined if there are none. */
export function expiriesOf(
  expiresOn: readonly (string | null)[],
  nowMs: number,
  more = false,
): Expiry | undefined {
  const near = expiresOn.flatMap((day) => expiryOf(day, nowMs) ?? []);
  const expired = near.filter(({ state }) => state === 'failed').length;
  if (near.length === 0) return undefined;
  const plus = more ? '+' : '';
  const soon = near.length - expired;
  const parts = [
    ...(expired === 0 ? [] : [`${expired}${soon === 0 ? plus : ''} expired`]),
    ...(soon === 0
      ? []
      : [`${soon}${plus} ${soon === 1 && !more ? 'expires' : 'expire'} within ${warnDays} days`]),
  ];
  return { word: parts.join(', '), state: expired > 0 ? 'failed' : 'partial' };
}

/**
 * @param expiresOn last day on which the secret is valid
 * @returns undefined if the expiry is not near
 */
export function expiryOf(expiresOn: string | null, nowMs: number): Expiry | undefined {
  if (expiresOn === null) return undefined;
  const today = Math.floor(nowMs / dayMs);
  const days = Math.round(Date.parse(`${expiresOn}T00:00:00Z`) / dayMs) - today;
  if (days > warnDays) return undefined;
  if (days < 0) return { word: `expired ${counted(-days, 'day')} ago`, state: 'failed' };
  return { word: days === 0 ? 'expires today' : `expires in ${counted(days, 'day')}`, state: 'partial' };
}
