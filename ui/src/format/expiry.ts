// How long a secret is still good for, in words that call for something only when that is near.
import { counted } from './quantity.ts';

const dayMs = 86_400_000;
/** From so many days before it is told. */
const warnDays = 30;

export interface Expiry {
  word: string;
  state: 'failed' | 'partial';
}

/** @param expiresOn the last day on which it is good; undefined is answered where nothing is due. */
export function expiryOf(expiresOn: string | null, nowMs: number): Expiry | undefined {
  if (expiresOn === null) return undefined;
  const today = Math.floor(nowMs / dayMs);
  const days = Math.round(Date.parse(`${expiresOn}T00:00:00Z`) / dayMs) - today;
  if (days > warnDays) return undefined;
  if (days < 0) return { word: `expired ${counted(-days, 'day')} ago`, state: 'failed' };
  return { word: days === 0 ? 'expires today' : `expires in ${counted(days, 'day')}`, state: 'partial' };
}
