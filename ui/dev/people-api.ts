// The mock API's answers about people, categories and the audit log; undefined for anything else.
import type { Made, Me } from '@opsconductor/protocol';
import {
  accessOf,
  auditRow,
  auditTotal,
  categories,
  endedMakers,
  grants,
  madeThings,
  sessions,
  tokens,
  userGroups,
  users,
} from './people-fixtures.ts';

export interface Answer {
  status: number;
  body?: unknown;
}

/**
 * Changes who is signed in: `admin` has all rights, `newcomer` has them too but no password yet, `scoped` may run jobs
 * of one category in one segment, `nobody` may do nothing.
 */
export function meAs(me: Me, who: string): Me {
  if (who === 'nobody') return { ...me, name: 'd.tanaka', roles: [], permissions: ['self'], reach: [] };
  if (who === 'newcomer') return { ...me, hasPassword: false };
  if (who !== 'scoped') return me;
  const within = [
    [
      { kind: 'category' as const, id: 2 },
      { kind: 'segment' as const, id: 1 },
    ],
  ];
  const held = ['read', 'run', 'credentials.use', 'targets.test'] as const;
  return {
    ...me,
    name: 'b.lindqvist',
    roles: ['operator'],
    permissions: ['self', ...held],
    reach: held.map((permission) => ({ permission, everywhere: false, within })),
  };
}

export function peopleAnswer(
  method: string,
  path: string,
  query: URLSearchParams,
  isEmpty: boolean,
): Answer | undefined {
  if (method !== 'GET') return change(method, path, query);
  const page = <T>(items: T[]) => ({ status: 200, body: { items: isEmpty ? [] : items, nextCursor: null } });
  const search = query.get('search')?.toLowerCase() ?? '';
  const named = <T extends { name: string }>(items: T[]) =>
    items.filter(({ name }) => name.toLowerCase().includes(search));
  const one = <T extends { id: number }>(items: T[], id: number): Answer => {
    const found = items.find((item) => item.id === id);
    return found === undefined
      ? {
          status: 404,
          body: { error: { code: 'not_found', message: 'There is no such thing.', requestId: 'req_7f' } },
        }
      : { status: 200, body: found };
  };
  const [, place = '', idText = '', part = ''] = path.split('/');
  const id = Number(idText);
  switch (place) {
    case 'users': {
      if (idText === '') {
        const isActive = query.get('isActive');
        const groupId = Number(query.get('userGroupId') ?? 0);
        return page(
          named(users).filter(
            (user) =>
              user.kind === (query.get('kind') ?? user.kind) &&
              (isActive === null || String(user.isActive) === isActive) &&
              (groupId === 0 || user.userGroups.some((group) => group.id === groupId)),
          ),
        );
      }
      if (part === '') return one(users, id);
      if (part === 'sessions') return page(id === 1 ? sessions : sessions.slice(1));
      if (part === 'ended-makers') return page(endedMakers);
      if (part === 'made') return { status: 200, body: made(query) };
      if (part === 'tokens') return page(users.find((user) => user.id === id)?.tokens === 0 ? [] : tokens);
      return part === 'access' ? { status: 200, body: accessOf(id, query) } : undefined;
    }
    case 'user-groups': {
      if (idText === '') return page(named(userGroups));
      if (part === '') return one(userGroups, id);
      const members = users.filter((user) => user.userGroups.some((group) => group.id === id));
      return page(members.map((user) => ({ ...user, addedAt: user.createdAt })));
    }
    case 'grants': {
      const [userId, groupId] = [Number(query.get('userId')), Number(query.get('userGroupId'))];
      return page(
        grants.filter(({ subject, scope }) =>
          query.has('scopeId')
            ? scope?.kind === query.get('scopeKind')
            : subject.id === (subject.kind === 'user' ? userId : groupId),
        ),
      );
    }
    case 'me':
      if (idText === 'sessions') return page(sessions);
      if (idText === 'ended-makers') return page(endedMakers);
      if (idText === 'made') return { status: 200, body: made(query) };
      return idText === 'access' ? { status: 200, body: accessOf(2, query) } : undefined;
    case 'tokens':
      return page(tokens);
    case 'categories':
      return page(categories);
    case 'audit':
      if (idText === 'checkpoints') return { status: 200, body: checkpoint() };
      return idText === '' ? audit(query, isEmpty) : undefined;
  }
  return undefined;
}

/** Token 2 has made nothing, and session 3 only what ends. */
function made(query: URLSearchParams): Made {
  if (query.get('token') === '2') return { ends: 0, stays: 0, items: [] };
  const items = madeThings.filter(({ stays }) => stays === null || query.get('session') !== '3');
  const ends = items.filter(({ stays }) => stays === null).length;
  return { ends, stays: items.length - ends, items };
}

function audit(query: URLSearchParams, isEmpty: boolean): Answer {
  const before = Number(query.get('cursor') ?? auditTotal + 1);
  const limit = Number(query.get('limit') ?? 50);
  const [actor, action] = [query.get('actor'), query.get('action') ?? ''];
  const items = [];
  let id = before - 1;
  for (; id >= 1 && items.length < limit && !isEmpty; id -= 1) {
    const row = auditRow(id);
    if ((actor === null || row.actorName === actor) && row.action.startsWith(action)) items.push(row);
  }
  return { status: 200, body: { items, nextCursor: id >= 1 && !isEmpty ? String(id + 1) : null } };
}

function checkpoint() {
  return {
    number: 9_310,
    size: auditTotal - 2,
    rootHash: 'q3Zr9Vb1mWk0tE7yXn5sJc2LhUoPdA8fGi4RvTz6MwQ=',
    sealedAt: new Date(Date.now() - 900).toISOString(),
    note: `opsconductor audit\n9310\n${auditTotal - 2}\nq3Zr9Vb1mWk0tE7yXn5sJc2LhUoPdA8fGi4RvTz6MwQ=\n\n— 6b1f0c9e47d2 Hn8sLx42cYb7pKe1VtGj9RwZqUo3DmFi5TaXv0NhJsEHn8sLx42cYb7pKe1VtGj9RwZqUo3DmFi5TaXv0NhJsE=\n`,
    unsealedRows: 2,
    publicKey: 'T5vKw0Rj8NcLz3PqYe6MbXs1UhGd9FoAi7tVkC2yWmE=',
  };
}

function change(method: string, path: string, query: URLSearchParams): Answer | undefined {
  if (method === 'DELETE' && query.has('made')) return { status: 200, body: made(query) };
  const expiresAt = new Date(Date.now() + 86_400_000).toISOString();
  if (path.endsWith('/sign-in-link')) {
    return {
      status: 201,
      body: {
        url: 'https://ops.example.net:7700/#code=3mWk0tE7yXn5sJc2LhUoPdA8fGi4RvTz6MwQq3Zr9Vb',
        expiresAt,
      },
    };
  }
  if (method === 'POST' && path.endsWith('/tokens')) {
    return {
      status: 201,
      body: { ...tokens[0], name: 'new one', token: 'oct_3mWk0tE7yXn5sJc2LhUoPdA8fGi4RvTz6MwQq3Zr9Vb1' },
    };
  }
  if (path === '/grants') {
    const message =
      'This needs the permission agents.manage on segment “dmz-1”, which admin does not have there.';
    return { status: 403, body: { error: { code: 'forbidden', message, requestId: 'req_7f3c91ae' } } };
  }
  if (method === 'POST' && path === '/users') return { status: 201, body: users[5] };
  const known = /^\/(?:users|user-groups|grants|categories|tokens|me)\//.test(path);
  return known ? { status: 204 } : undefined;
}
