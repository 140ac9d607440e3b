// Ends an API token or sessions together with all that was made with them, directly and indirectly: otherwise whoever
// has stolen one would keep what they made with it.
import type { EndedMaker, Made, MadeQuery } from '@opsconductor/protocol';
import type { AuditEntry } from '../audit/record-audit.ts';
import { recordAudits } from '../audit/record-audits.ts';
import { asOf, type IdentityDeps } from '../auth/identity-deps.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { invalidField, notFound } from '../errors.ts';
import type { Queryable, Tx } from '../store/database/connection.ts';
import { deleteApiToken } from '../store/people/api-tokens.ts';
import {
  deleteMade,
  endedMakers,
  findMaker,
  isKnown,
  lockMaking,
  madeWith,
  type ThingKey,
} from '../store/people/made-with.ts';
import { deleteSession, otherSessionIds } from '../store/people/sessions.ts';
import { lockUser, type UserRow } from '../store/people/users.ts';
import { changePeople } from './change-people.ts';
import { describeMade, type JudgedThing, judgeMade } from './judge-made.ts';

/** What is ended: an API token or session of the user, or all sessions of theirs except the one that asks. */
export type EndRoot = { kind: 'api_token' | 'session'; id: number } | 'sessions';

interface Ending {
  userId: number;
  root: EndRoot;
  /** Looks at the user, who is locked, and throws to refuse. */
  admit?: (tx: Tx, user: UserRow) => Promise<void>;
}

/**
 * Returns what would be ended together with it.
 * @throws AppError `not_found`, also for a token or session of another user; `invalid` for a query that names both.
 */
export async function listMade(
  deps: IdentityDeps,
  userId: number,
  { token, session }: MadeQuery,
  caller: Caller,
): Promise<Made> {
  if (token !== undefined && session !== undefined)
    throw invalidField('query.session', 'Name a token or a session, not both.');
  const root: EndRoot =
    token !== undefined
      ? { kind: 'api_token', id: token }
      : session !== undefined
        ? { kind: 'session', id: session }
        : 'sessions';
  const roots = await rootsOf(deps.sql, userId, root, caller);
  return describeMade(await judgeMade(deps.sql, caller, await madeWith(deps.sql, roots, asOf(deps))));
}

/** Returns the sessions and API tokens of a user that have ended, though something made with them still works. */
export async function listEndedMakers(deps: IdentityDeps, userId: number): Promise<{ items: EndedMaker[] }> {
  const rows = await endedMakers(deps.sql, userId, asOf(deps));
  return { items: rows.map(({ begun, ...row }) => ({ ...row, begunAt: begun?.toISOString() ?? null })) };
}

/**
 * Ends it and all that was made with it, in one transaction with an audit row for each. What the caller could not end
 * by itself stays, and the answer says so. It may have ended already: then only the rest is ended.
 * @returns how many tokens or sessions were ended for themselves, and what became of what was made with them.
 * @throws AppError `not_found`; `conflict` if it would leave no administrator who can sign in.
 */
export async function endWithMade(
  deps: IdentityDeps,
  caller: Caller,
  { userId, root, admit = async () => {} }: Ending,
): Promise<{ ended: number; made: Made }> {
  const { ended, judged } = await changePeople(deps, async (tx) => {
    await lockMaking(tx);
    const user = await lockUser(tx, userId);
    if (user === undefined) throw notFound('User');
    await admit(tx, user);
    const roots = await rootsOf(tx, userId, root, caller);
    const found = await judgeMade(tx, caller, await madeWith(tx, roots, asOf(deps)));
    const names = await deleteRoots(tx, userId, roots);
    const going = found.filter(({ thing }) => thing.stays === null);
    const gone = await deleteMade(
      tx,
      going.map(({ row }) => row),
    );
    const isGone = ({ row }: JudgedThing) => gone.some(({ kind, id }) => kind === row.kind && id === row.id);
    // What was ended by someone else meanwhile is not told of.
    const judged = found.filter((one) => one.thing.stays !== null || isGone(one));
    await recordAudits(tx, [
      ...rootEntries(caller, user, { root, roots, names, judged }),
      ...judged.filter(isGone).map((one) => madeEntry(caller, one, wordsOf(user, root, names))),
    ]);
    return { ended: [...names.keys()], judged };
  });
  const goneOf = (kind: 'session' | 'api_token') => [
    ...ended.filter((key) => key.kind === kind).map(({ id }) => id),
    ...judged.filter(({ thing }) => thing.stays === null && thing.kind === kind).map(({ row }) => row.id),
  ];
  deps.authenticator.forgetEach('session', goneOf('session'));
  deps.authenticator.forgetEach('api_token', goneOf('api_token'));
  return { ended: ended.length, made: describeMade(judged) };
}

async function rootsOf(sql: Queryable, userId: number, root: EndRoot, caller: Caller): Promise<ThingKey[]> {
  if (root === 'sessions') {
    const keptId = caller.maker?.kind === 'session' ? caller.maker.id : null;
    const ids = await otherSessionIds(sql, userId, keptId);
    return ids.map((id) => ({ kind: 'session', id }));
  }
  const there = await findMaker(sql, root);
  const isTheirs = there === undefined ? await isKnown(sql, root, userId) : there.userId === userId;
  if (!isTheirs) throw notFound(root.kind === 'session' ? 'Session' : 'API token');
  return [root];
}

/** Returns those that were there, each with what the audit log says of it. */
async function deleteRoots(
  tx: Tx,
  userId: number,
  roots: readonly ThingKey[],
): Promise<Map<ThingKey, { name?: string; prefix?: string }>> {
  const names = new Map<ThingKey, { name?: string; prefix?: string }>();
  for (const root of roots) {
    if (root.kind === 'api_token') {
      const token = await deleteApiToken(tx, userId, root.id);
      if (token !== undefined) names.set(root, token);
    } else if (await deleteSession(tx, userId, root.id)) names.set(root, {});
  }
  return names;
}

function rootEntries(
  caller: Caller,
  user: UserRow,
  {
    root,
    roots,
    names,
    judged,
  }: {
    root: EndRoot;
    roots: readonly ThingKey[];
    names: ReadonlyMap<ThingKey, object>;
    judged: readonly JudgedThing[];
  },
): AuditEntry[] {
  const { ends, stays } = describeMade(judged);
  const by = auditedBy(caller);
  const made = { madeEnded: ends, madeLeft: stays };
  if (root === 'sessions') {
    const detail = { user: user.name, ended: names.size, ...made };
    return [{ ...by, action: 'session.others_revoked', object: { kind: 'user', id: user.id }, detail }];
  }
  // It had ended already, which was recorded then.
  if (names.size === 0) return [];
  const action = root.kind === 'session' ? 'session.revoked' : 'api_token.revoked';
  return [
    {
      ...by,
      action,
      object: { kind: root.kind, id: root.id },
      detail: { ...names.get(roots[0] as ThingKey), user: user.name, ...made },
    },
  ];
}

function wordsOf(user: UserRow, root: EndRoot, names: ReadonlyMap<ThingKey, { name?: string }>): string {
  if (root === 'sessions') return `sessions of ${user.name}`;
  const [named] = [...names.values()];
  return root.kind === 'session' ? `session ${root.id}` : `API token ${named?.name ?? root.id}`;
}

function madeEntry(caller: Caller, { row, user }: JudgedThing, endedWith: string): AuditEntry {
  const by = auditedBy(caller);
  const { kind, id, name, prefix } = row;
  const of = user?.name ?? null;
  switch (kind) {
    case 'api_token':
      return {
        ...by,
        action: 'api_token.revoked',
        object: { kind, id },
        detail: { name, prefix, user: of, endedWith },
      };
    case 'session':
      return { ...by, action: 'session.revoked', object: { kind, id }, detail: { user: of, endedWith } };
    case 'sign_in_link':
      return {
        ...by,
        action: 'sign_in_link.revoked',
        object: { kind: 'user', id: row.userId ?? 0 },
        detail: { name: of, endedWith },
      };
    default: {
      const segmentId = row.segmentId ?? 0;
      return {
        ...by,
        action: 'enrollment_token.revoked',
        object: { kind: 'segment', id: segmentId },
        scope: { segmentId },
        detail: { tokenId: id, segment: row.segment, endedWith },
      };
    }
  }
}
