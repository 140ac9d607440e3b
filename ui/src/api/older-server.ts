// While servers are upgraded one by one, one of the previous version may answer a page of this one.
import { ApiError } from './client.ts';

/** Whether the server doesn't know a parameter of the query, which this console has and a server of its version knows. */
export function isUnknownParameter(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    error.code === 'invalid' &&
    error.details.some(({ path, message }) => path.startsWith('query.') && message.startsWith('Is not known'))
  );
}
