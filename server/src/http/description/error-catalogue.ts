// What each error code means and what to do fix: in the API's description, and in docs/api.md.
import { type ErrorCode, errorCodes } from '@opsconductor/protocol';
import { httpStatusOf } from '../../errors.ts';

interface Meaning {
  when: string;
  fix: string;
  /** Statuses that it comes with in some cases. */
  also?: string;
}

const meanings: Record<ErrorCode, Meaning> = {
  invalid: {
    when: 'Something in the path, query or body is not as it must be. `details` has each place, with what was found and what is allowed; of a body of YAML also line and column',
    fix: 'Correct what `details` names; the same request again is refused again',
    also: '405 another method, 415 another content type, 421 a host name that this server isn’t',
  },
  unauthenticated: {
    when: 'No session and no API token, or one that has ended or was revoked',
    fix: 'Sign in again, or send a token that holds: `Authorization: Bearer oct_…`',
  },
  forbidden: {
    when: 'The caller lacks the permission that the message names, or a session’s request came from a page of another site',
    fix: 'Ask an administrator for the permission where the message says; `GET me/access` says what one has and why',
  },
  not_found: {
    when: 'There is no such thing, or the caller may not see it: the two are told alike',
    fix: 'Look at the id or name, and whether you may read where it lies',
  },
  conflict: {
    when: 'It contradicts what is there: a name is taken, the thing changed since it was read, or is in use. Of a save that another one came before, `conflict` has both sides',
    fix: 'Read the thing again, and decide with the message; then send what still holds',
  },
  output_expired: {
    when: 'The output of the step was removed, as it is older than it is kept',
    fix: 'Nothing brings it back; the run, its steps and their outcomes are still there',
  },
  too_large: {
    when: 'The body, or what it stands for, is larger than the route takes',
    fix: 'Send less, or in parts; the message says how much is allowed',
  },
  rate_limited: {
    when: 'Too many requests or attempts of this caller or address',
    fix: 'Wait for as many seconds as `Retry-After` says',
  },
  unavailable: {
    when: 'Not just now: the database does not answer, the server is overloaded or stopping, or the request took too long; the message says which. Only where the database was lost may a change have been made. A server that is overloaded or just starting answers without a body',
    fix: 'Wait for as many seconds as `Retry-After` says; where the database was lost look whether it was done; then try again',
  },
  internal: {
    when: 'A mistake of the server. The message says no more; the log has the rest under the request id',
    fix: 'Give the request id to whoever runs the server',
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
