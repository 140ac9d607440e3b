// What was made with something, as a caller may see it, and what of that they may end.
import type { Made, MadeThing } from '@opsconductor/protocol';
import type { Caller } from '../caller.ts';
import type { Queryable } from '../store/database/connection.ts';
import type { MadeRow } from '../store/people/made-with.ts';
import { findUserById, type UserRow } from '../store/people/users.ts';

const mostListed = 200;

export interface JudgedThing {
  row: MadeRow;
  /** Whose it is, if anybody's. */
  user: UserRow | undefined;
  thing: MadeThing;
}

/** Says of each whether the caller may end it, as if they ended it by itself. What they may not see gets no name. */
export async function judgeMade(
  sql: Queryable,
  caller: Pick<Caller, 'userId' | 'authority' | 'maker'>,
  rows: readonly MadeRow[],
): Promise<JudgedThing[]> {
  const users = new Map<number, UserRow | undefined>();
  for (const { userId } of rows) {
    if (userId !== null && !users.has(userId)) users.set(userId, await findUserById(sql, userId));
  }
  return rows.map((row) => {
    const user = row.userId === null ? undefined : users.get(row.userId);
    const isSeen =
      row.segmentId === null
        ? row.userId === caller.userId || caller.authority.holdsEverywhere('people.edit')
        : caller.authority.holdsOnSegment('read', row.segmentId);
    const { kind, id, createdAt } = row;
    const thing: MadeThing = {
      kind,
      id,
      createdAt: createdAt.toISOString(),
      name: isSeen ? row.name : null,
      user: isSeen ? (user?.name ?? null) : null,
      segment: isSeen ? row.segment : null,
      stays: stays(caller, row, user),
    };
    return { row, user, thing };
  });
}

function stays(
  { userId, authority, maker }: Pick<Caller, 'userId' | 'authority' | 'maker'>,
  row: MadeRow,
  user: UserRow | undefined,
): MadeThing['stays'] {
  if (row.kind === 'agent') return 'agent';
  if (row.segmentId !== null) {
    const { segmentId } = row;
    const mayEnd =
      authority.holdsOnSegment('read', segmentId) && authority.holdsOnSegment('agents.enroll', segmentId);
    return mayEnd ? null : 'needs_agents_enroll';
  }
  if (maker?.kind === row.kind && maker.id === row.id) return 'asks';
  if (row.userId === userId && authority.holdsEverywhere('self')) return null;
  if (!authority.holdsEverywhere('people.edit')) return 'needs_people_edit';
  return authority.firstBeyond(user?.grants ?? []) === undefined ? null : 'user_holds_more';
}

/** Returns the answer that tells of these. */
export function describeMade(judged: readonly JudgedThing[]): Made {
  const things = judged.map(({ thing }) => thing);
  const stay = things.filter((thing) => thing.stays !== null);
  const end = things.filter((thing) => thing.stays === null);
  return { ends: end.length, stays: stay.length, items: [...stay, ...end].slice(0, mostListed) };
}
