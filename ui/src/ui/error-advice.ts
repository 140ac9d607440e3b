// What a person is told of a request that failed, beside its message: what to try, and what is wrong where.
import type { ErrorDetail } from '@opsconductor/protocol';
import type { ApiError } from '../api/client.ts';

/** What to say of a change whose answer was lost: neither that it was done nor that it was not. */
export interface LostAnswer {
  what: string;
  advice: string;
}

const lostAnswer: LostAnswer = {
  what: 'It is not known whether this was done.',
  advice: 'Look whether it was done, then try again.',
};
export const lostStart: LostAnswer = {
  what: 'It is not known whether the run started.',
  advice: 'Press the button again: it is started once. Or look in the runs.',
};

const againBySelf = '. The console tries again by itself.';

/** `failed` where it is known that it failed. */
export function leadFor({ mayBeDone }: ApiError, failed: string, lost = lostAnswer): string {
  return mayBeDone ? lost.what : failed;
}

export function adviceFor(error: ApiError, lost = lostAnswer): string {
  if (error.mayBeDone) return lost.advice;
  switch (error.code) {
    case 'offline':
      return `Check the network and whether the server runs${error.asksAgain ? againBySelf : ', then try again.'}`;
    case 'untrusted':
      return 'Nothing was sealed or sent. Don’t try again: server or database may be somebody else’s by now. Tell whoever holds the root of the segment.';
    case 'unavailable':
      return `The server is starting or has lost its database${error.asksAgain ? againBySelf : '. Try again in a moment.'}`;
    case 'rate_limited':
      return error.asksAgain
        ? `There were too many requests${againBySelf}`
        : 'Wait a moment, then try again.';
    case 'unauthenticated':
      return 'It was not done. Sign in, then try again.';
    case 'forbidden':
      return 'Ask an administrator to grant it. What you may do, and why, stands in your account.';
    case 'not_found':
      return 'It was deleted, or you may not see it: that needs the permission read where it lies.';
    case 'conflict':
      return 'It changed meanwhile. Reload and look again.';
    case 'too_large':
      return 'Make it smaller.';
    case 'invalid':
      return 'Correct what is named and try again.';
    default:
      return error.requestId === undefined
        ? 'Try again. If it fails again, reload the page.'
        : 'Try again. If it fails again, look up the request id in the server’s log.';
  }
}

/** What the details say that the message does not: of one alone it often has all. */
export function detailsBeside({
  message,
  details,
}: Pick<ApiError, 'message' | 'details'>): readonly ErrorDetail[] {
  const [only, more] = details;
  if (only === undefined || more !== undefined || !message.includes(only.message)) return details;
  return message.includes(only.path) && only.found === undefined && only.allowed === undefined ? [] : details;
}
