// What a person is told of a request that failed, beside its message: what to try, and what is wrong where.
import type { ErrorDetail } from '@opsconductor/protocol';
import type { ApiError } from '../api/client.ts';

export function adviceFor(error: ApiError): string {
  switch (error.code) {
    case 'offline':
      return 'Check the network and whether the server runs. The console tries again by itself.';
    case 'unavailable':
      return 'The server is starting or has lost its database. Try again in a moment.';
    case 'rate_limited':
      return 'Wait a moment, then try again.';
    case 'unauthenticated':
      return 'Sign in again.';
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
      return 'Try again. If it fails again, look up the request id in the server’s log.';
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
