// What the routes that end API tokens and sessions have in common, for oneself and for others.
import type { Made } from '@opsconductor/protocol';
import type { Context } from 'hono';

/** For the descriptions of these routes. */
export const withMade =
  'With `made=true`, what was made with it is ended too, directly and indirectly: API tokens, sign-in links and the sessions that they opened, and unused enrollment tokens. What the caller may not end one by one stays, and so do agents.';
export const listedMade =
  'What `made=true` would end together with the token or session that the query names, or, if it names neither, with all sessions but the one that asks. `stays` says what would not be ended, and why. Tokens and sessions that have ended can be named too.';
export const listedEnded =
  'For example because the password was changed, or the thief signed out. `made=true` when ending one of them ends these things. At most 200, the newest first.';

/** The usual answer of such a route has no body. */
export async function answerEnded(
  { context }: { context: Context },
  ending: Promise<{ made: Made }>,
): Promise<Response> {
  const { made } = await ending;
  return context.json(made, 200);
}
