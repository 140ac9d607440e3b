import { type Me, permissions, type RoleGrant } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { json, load, serveApi } from '../testing.ts';

const { GrantDraft } = await load<typeof import('./grant-draft.svelte.ts')>(
  'state/people/grant-draft.svelte.ts',
);
const { session } = await load<typeof import('../session.svelte.ts')>('state/session.svelte.ts');

const segment = { kind: 'segment', id: 1, name: 'dmz-1' } as const;
const category = { kind: 'category', id: 2, name: 'patching' } as const;
const user = { kind: 'user', id: 7 } as const satisfies Partial<RoleGrant['subject']>;

/** Signs in as a user with these rights. */
async function holding(reach: Me['reach']) {
  const me = { id: 1, name: 'admin', permissions: reach.map(({ permission }) => permission), reach };
  await serveApi({ '/api/v1/me': (_request, response) => json(response, me) });
  await session.check();
}
const everything = permissions.map((permission) => ({ permission, everywhere: true, within: [] }));
beforeEach(() => holding(everything));
afterEach(() => session.lost());

describe('a grant draft', () => {
  it('of a role on a scope gives what applies there, and says what it leaves out', () => {
    const draft = new GrantDraft();
    draft.role = 'author';
    draft.picked = segment;
    expect(draft.gives).toEqual(['read', 'run', 'credentials.use', 'targets.test']);
    expect(draft.without).toEqual(['jobs.edit']);
    draft.picked = category;
    expect(draft.gives).toEqual(['read', 'run', 'jobs.edit']);
    expect(draft.request(user)).toEqual({ userId: 7, role: 'author', scope: { kind: 'category', id: 2 } });
  });

  it('everywhere gives all of the role', () => {
    const draft = new GrantDraft();
    draft.role = 'auditor';
    draft.everywhere = true;
    expect([draft.gives, draft.without]).toEqual([['read', 'audit.read'], []]);
    expect(draft.request({ kind: 'user_group', id: 3 })).toEqual({
      userGroupId: 3,
      role: 'auditor',
      scope: null,
    });
  });

  it('is not ready without a scope, or with one that the permission doesn’t apply to', () => {
    const draft = new GrantDraft();
    draft.of = 'permission';
    draft.permission = 'jobs.edit';
    expect([draft.ready, draft.scopeKinds]).toEqual([false, ['category']]);
    draft.picked = segment;
    expect([draft.ready, draft.scope]).toEqual([false, undefined]);
    draft.permission = 'targets.edit';
    expect([draft.ready, draft.request(user).scope]).toEqual([true, { kind: 'segment', id: 1 }]);
  });

  it('of a permission that applies to no scope is everywhere, whatever was picked before', () => {
    const draft = new GrantDraft();
    draft.of = 'permission';
    draft.picked = segment;
    draft.permission = 'people.edit';
    expect([draft.scopeKinds, draft.isEverywhere, draft.request(user)]).toEqual([
      [],
      true,
      { userId: 7, permission: 'people.edit', scope: null },
    ]);
  });

  it('is refused for permissions that the granting person doesn’t hold there', async () => {
    session.lost();
    const within = [[{ kind: 'segment' as const, id: 1 }]];
    await holding([
      { permission: 'people.edit', everywhere: true, within: [] },
      { permission: 'read', everywhere: true, within: [] },
      { permission: 'run', everywhere: false, within },
      { permission: 'credentials.use', everywhere: false, within },
    ]);
    const draft = new GrantDraft();
    draft.role = 'operator';
    draft.picked = segment;
    expect([draft.beyond, draft.ready]).toEqual([['targets.test'], false]);
    draft.picked = category;
    expect(draft.beyond).toEqual(['run']);
    draft.everywhere = true;
    expect(draft.beyond).toEqual(['run', 'credentials.use', 'targets.test']);
    draft.role = 'viewer';
    expect([draft.beyond, draft.ready]).toEqual([[], true]);
  });
});
