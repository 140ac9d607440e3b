// What lets somebody in (API tokens, sign-in links, enrollment tokens) is made with a session or an API token, which is
// recorded, so that whoever ends that one can also end what was made with it.
import { AppError } from '../errors.ts';
import type { Tx } from '../store/database/connection.ts';
import { findMaker, type MakerRow, shareMakingLock } from '../store/people/made-with.ts';
import type { Principal } from './principal.ts';

/** A session or API token, by id. */
export type MakerKey = Pick<MakerRow, 'kind' | 'id'>;

/** Returns the session or API token with which the principal asks. */
export function makerKeyOf({ via, viaId }: Pick<Principal, 'via' | 'viaId'>): MakerKey {
  return { kind: via, id: viaId };
}

/**
 * To be called before something is made, and before rows are locked: whoever ends all that was made with the same
 * session or token waits for this transaction, or this one for them. Returns the session or token; undefined for what
 * the server makes by itself.
 * @throws AppError `unauthenticated` if it has been ended, though the request was accepted before.
 */
export async function beginMaking(tx: Tx, key: MakerKey | undefined): Promise<MakerRow | undefined> {
  await shareMakingLock(tx);
  if (key === undefined) return undefined;
  const maker = await findMaker(tx, key);
  if (maker === undefined)
    throw new AppError(
      'unauthenticated',
      'Your session or API token ended before the request was carried out.',
    );
  return maker;
}
