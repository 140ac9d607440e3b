// How a user's state is called and shown, and what is lost with a user group.
import type { User, UserGroup } from '@opsconductor/protocol';
import { until } from '../../format/moment.ts';
import { counted } from '../../format/quantity.ts';

export interface StateWords {
  /** The status whose shape and color it gets. */
  look: string;
  word: string;
  detail: string | undefined;
}

/** Trouble first: what keeps someone from signing in comes before how they do it. */
export function userState(user: User, now: number): StateWords {
  if (!user.isActive) return { look: 'cancelled', word: 'inactive', detail: undefined };
  if (user.lockedUntil !== null && Date.parse(user.lockedUntil) > now) {
    return {
      look: 'held',
      word: 'locked',
      detail: `for ${counted(user.lockedAddresses, 'address', 'addresses')}, unlocks ${until(user.lockedUntil, now)}`,
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
      word: 'link unused',
      detail: `expires ${until(user.signInLinkExpiresAt, now)}`,
    };
  }
  if (!user.hasPassword) return { look: 'pending', ...withoutPassword(user) };
  return {
    look: 'succeeded',
    word: 'active',
    detail: user.sessions === 0 ? undefined : counted(user.sessions, 'session'),
  };
}

/** For users who can't sign in again, but may still be signed in or have programs that use their tokens. */
function withoutPassword({ sessions, tokens }: User): Pick<StateWords, 'word' | 'detail'> {
  if (sessions + tokens === 0) return { word: 'no way in', detail: 'neither password nor link' };
  const still = [
    ...(sessions > 0 ? [counted(sessions, 'session')] : []),
    ...(tokens > 0 ? [counted(tokens, 'API token')] : []),
  ];
  return {
    word: sessions > 0 ? 'no way back in' : 'can’t sign in',
    detail: `${still.join(', ')}, but neither password nor link`,
  };
}

/** What deactivating a user ends permanently; empty if there is nothing to end. */
export function endedWith({ kind, sessions, tokens }: Pick<User, 'kind' | 'sessions' | 'tokens'>): string {
  const ended = kind === 'person' ? sessions : 0;
  const parts = [
    ...(ended > 0 ? [counted(ended, 'session ends', 'sessions end')] : []),
    ...(tokens > 0 ? [counted(tokens, 'API token is deleted', 'API tokens are deleted')] : []),
  ];
  if (parts.length === 0) return '';
  return `${parts.join(' and ')}, permanently: ${ended + tokens === 1 ? 'it doesn’t' : 'they don’t'} come back if the user is activated again.`;
}

/** The full name, or the title of a service account; empty if it says no more than the name. */
export function fullNameOf({ name, displayName }: Pick<User, 'name' | 'displayName'>): string {
  return displayName.trim().toLowerCase() === name.toLowerCase() ? '' : displayName;
}

/** What the members of a user group lose when it is deleted. */
export function lostWithGroup({ members, grants }: Pick<UserGroup, 'members' | 'grants'>): string {
  if (members === 0) {
    return grants === 0
      ? 'It has no members, and nothing is granted to it.'
      : `It has no members. Its ${counted(grants, 'grant is', 'grants are')} deleted with it.`;
  }
  if (grants === 0) {
    return `Nothing is granted to it: its ${counted(members, 'member keeps', 'members keep')} all rights.`;
  }
  return `${counted(members, 'member loses', 'members lose')} what its ${counted(grants, 'grant gives', 'grants give')}, at once. ${members === 1 ? 'That user stays, and keeps' : 'They stay users and keep'} what else was granted.`;
}

/** What a member who is removed from a user group loses. */
export function lostByLeaving(name: string, { grants }: Pick<UserGroup, 'grants'>): string {
  return grants === 0
    ? `Nothing is granted to the group: ${name} keeps all rights.`
    : `${name} loses what the group’s ${counted(grants, 'grant gives', 'grants give')}, at once, in open pages and streams too. What else was granted is kept.`;
}
