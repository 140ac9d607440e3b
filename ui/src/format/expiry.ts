// How much longer a secret is valid, in words that ask for attention only when the end is near.
import { counted } from './quantity.ts';

const dayMs = 86_400_000;
/** Days before the expiry from which it is shown. */
const warnDays = 30;

export interface Expiry {
  word: string;
  state: 'failed' | 'partial';
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
