// What a person may try after a request failed, per kind of failure.
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
