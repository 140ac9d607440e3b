import { ApiError } from './client.ts';

/** Loads a part of the console. Rejects with an ApiError if the server does not answer, or has another version by now. */
export async function consoleCode<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    const why = 'The server did not answer, or the console has been updated since: reload the page.';
    throw new ApiError('offline', why, { cause });
  }
}
