// What to tell a person about a failed request in addition to its message: what to try, and what is wrong where.
import type { ErrorDetail } from '@opsconductor/protocol';
import type { ApiError } from '../../api/client.ts';

/** Wording for a change whose answer was lost: neither that it was done nor that it wasn't. */
export interface LostAnswer {
  what: string;
  advice: string;
}

const lostAnswer: LostAnswer = {
  what: 'It is not known whether this was done.',
  advice: 'Check whether it was done before you try again.',
};
export const lostStart: LostAnswer = {
  what: 'It is not known whether the run started.',
  advice: 'Press the button again: the run won’t start twice. Or check the list of runs.',
};

const againBySelf = '. The console retries automatically.';

/** Returns `failed` if it is known to have failed. */
export function leadFor({ mayBeDone }: ApiError, failed: string, lost = lostAnswer): string {
  return mayBeDone ? lost.what : failed;
}

/**
 * Returns undefined if the message says all that can be said.
 * @param isCorrectable whether what was refused can be corrected where this is shown
 */
export function adviceFor(error: ApiError, lost = lostAnswer, isCorrectable = true): string | undefined {
  if (error.mayBeDone) return lost.advice;
  switch (error.code) {
    case 'offline':
      return `Check the network and whether the server is running${error.asksAgain ? againBySelf : ', then try again.'}`;
    case 'untrusted':
      return 'Nothing was sealed or sent. Don’t try again: someone else may control the server or its database. Tell the person who holds the root of the segment.';
    case 'unavailable':
      return `The server is starting or can’t reach its database${error.asksAgain ? againBySelf : '. Try again in a moment.'}`;
    case 'rate_limited':
      return error.asksAgain
        ? `There were too many requests${againBySelf}`
        : 'Wait a moment, then try again.';
    case 'unauthenticated':
      return 'Nothing was done. Sign in, then try again.';
    case 'forbidden':
      return 'Ask an administrator to grant it. Your account page shows what you may do, and why.';
    case 'not_found':
      return 'It was deleted, or you may not see it: you need the permission read in the place where it is.';
    // The message says what is in the way and what to do about it: no general advice fits.
    case 'conflict':
      return undefined;
    case 'too_large':
      return 'Make it smaller.';
    case 'invalid':
      return isCorrectable ? 'Correct it and try again.' : undefined;
    default:
      return error.requestId === undefined
        ? 'Try again. If it fails again, reload the page.'
        : 'Try again. If it fails again, look up the request id in the server’s log.';
  }
}

/** Returns the details that the message doesn't already contain, as it often does if there is only one. */
export function detailsBeside({
  message,
  details,
}: Pick<ApiError, 'message' | 'details'>): readonly ErrorDetail[] {
  const [only, more] = details;
  if (only === undefined || more !== undefined || !message.includes(only.message)) return details;
  const saysAllowed = only.allowed === undefined || message.includes(only.allowed.replace(/\.$/, ''));
  return message.includes(only.path) && only.found === undefined && saysAllowed ? [] : details;
}
