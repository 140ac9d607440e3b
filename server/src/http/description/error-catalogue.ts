// What each error code means and how to fix it, for the API's description and docs/api.md.
import { type ErrorCode, errorCodes } from '@opsconductor/protocol';
import { httpStatusOf } from '../../errors.ts';

interface Meaning {
  when: string;
  fix: string;
  /** Other HTTP statuses that it has in some cases. */
  also?: string;
}

const meanings: Record<ErrorCode, Meaning> = {
  invalid: {
    when: 'Something in the path, query or body is invalid. `details` has each place, with what was found and what is allowed; for a YAML body also line and column',
    fix: 'Correct what `details` names; repeating the same request won’t help',
    also: '405 another method, 415 another content type, 417 an Expect header other than 100-continue, 421 a host name that this server isn’t',
  },
  unauthenticated: {
    when: 'The request has no session or API token, or one that has ended or was revoked',
    fix: 'Sign in again, or send a valid token: `Authorization: Bearer oct_…`',
  },
  forbidden: {
    when: 'The caller lacks the permission that the message names, or a session’s request came from a page of another site',
    fix: 'Ask an administrator for the permission that the message names, on the scope it names; `GET me/access` shows which rights you have, and why',
  },
  not_found: {
    when: 'It does not exist, or the caller may not see it; the answer is the same for both',
    fix: 'Check the id or name, and whether you may read things in that place',
  },
  conflict: {
    when: 'The request conflicts with the current state: a name is taken, or the thing has changed since it was read or is in use. If someone else saved first, `conflict` has both sides',
    fix: 'Read the thing again and decide what should apply, with the help of the message; then send that',
  },
  output_expired: {
    when: 'The output of the step was removed because it was past its retention',
    fix: 'It can’t be brought back; the run, its steps and their outcomes are still there',
  },
  too_large: {
    when: 'The body, or what it expands to, is larger than the route accepts',
    fix: 'Send less, or send it in parts; the message says how much is allowed',
    also: '431 headers of 16 KB or more',
  },
  rate_limited: {
    when: 'Too many requests or attempts from this caller or address',
    fix: 'Wait for the number of seconds in `Retry-After`',
  },
  unavailable: {
    when: 'Temporary: the database does not answer, the server is overloaded or stopping, or the request took too long; the message says which. Only if the connection to the database was lost may the change have been made all the same. A server that is overloaded or just starting answers without a body',
    fix: 'Wait for the number of seconds in `Retry-After`. If the database was lost, check whether the change was made. Then try again',
    also: '408 a request that did not arrive in time; the connection ends',
  },
  internal: {
    when: 'A bug in the server. The message says no more than that; the log has the rest under the request id',
    fix: 'Give the request id to the person who runs the server',
  },
};

export interface CataloguedError extends Meaning {
  code: ErrorCode;
  status: number;
}

export const errorCatalogue: readonly CataloguedError[] = errorCodes.map((code) => ({
  code,
  status: httpStatusOf[code],
  ...meanings[code],
}));
