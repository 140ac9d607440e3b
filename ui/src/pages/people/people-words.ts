// What a user's state is called, and how it looks.
import type { User } from '@opsconductor/protocol';
import { until } from '../../format/moment.ts';
import { counted } from '../../format/quantity.ts';

export interface StateWords {
  /** The status whose shape and color it has. */
  look: string;
  word: string;
  detail: string | undefined;
}

/** Trouble first: what keeps someone out comes before how they come in. */
export function userState(user: User, now: number): StateWords {
  if (!user.isActive) return { look: 'cancelled', word: 'inactive', detail: undefined };
  if (user.lockedUntil !== null && Date.parse(user.lockedUntil) > now) {
    return {
      look: 'held',
      word: 'locked',
      detail: `for ${counted(user.lockedAddresses, 'address', 'addresses')}, lifts ${until(user.lockedUntil, now)}`,
    };
  }
  if (user.kind === 'service') {
    return user.tokens === 0
      ? { look: 'pending', word: 'no token', detail: 'nothing can use it' }
      : { look: 'succeeded', word: 'active', detail: counted(user.tokens, 'token') };
  }
  if (user.signInLinkExpiresAt !== null && Date.parse(user.signInLinkExpiresAt) > now) {
    return {
      look: 'queued',
      word: 'link waits',
      detail: `to be used, ${until(user.signInLinkExpiresAt, now)}`,
    };
  }
  if (!user.hasPassword) return { look: 'pending', word: 'no way in', detail: 'neither password nor link' };
  return {
    look: 'succeeded',
    word: 'active',
    detail: user.sessions === 0 ? undefined : counted(user.sessions, 'session'),
  };
}
