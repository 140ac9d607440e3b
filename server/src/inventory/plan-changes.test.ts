import { ImportedHostSchema, type TargetSettings } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import { turnsDuring } from '../testing.ts';
import { schemaProblems } from '../validation/schema-problems.ts';
import { type CurrentTarget, countPlan, planChanges, type WantedHost } from './plan-changes.ts';

const wanted = (name: string, more: Partial<WantedHost> = {}): WantedHost => ({
  key: name,
  name,
  host: `${name}.example`,
  segmentId: 1,
  segmentName: 'dmz',
  file: 'hosts',
  line: 1,
  ...more,
});
const current = (name: string, more: Partial<CurrentTarget> = {}): CurrentTarget => ({
  id: [...name].reduce((sum, character) => sum + character.charCodeAt(0), 0),
  segmentId: 1,
  segmentName: 'dmz',
  name,
  host: `${name}.example`,
  port: null,
  operatingSystem: 'linux',
  description: '',
  labels: {},
  settings: {},
  isActive: true,
  inventoryId: 7,
  inventoryName: null,
  inventoryKey: name,
  given: { fields: [], labels: [], groups: [] },
  isGone: false,
  listed: [],
  excluded: [],
  inherited: {},
  acceptedHostKeys: 0,
  ...more,
});
const plan = (hosts: WantedHost[], targets: CurrentTarget[], adopt: 'none' | 'by_hand' | 'any' = 'none') =>
  planChanges(7, adopt, hosts, targets);
const summary = async (...args: Parameters<typeof plan>) =>
  (await plan(...args)).map(({ item }) => {
    const changes = item.changes.map(({ field, from, to }) => `${field}: ${from} → ${to}`);
    return [item.action, item.name, item.conflict?.reason ?? changes].flat().join(' | ');
  });

describe('a plan', () => {
  it('leaves settings alone that an inventory can’t contain', async () => {
    const settings: TargetSettings = {
      ...{ jump_hosts: ['gate'], ssh_algorithms: 'legacy', max_connections: 2 },
      ...{ winrm_transport: 'http', username: 'root' },
    };
    const [planned] = await plan(
      [wanted('db', { host: '10.0.0.9', settings: { username: 'ops' } })],
      [current('db', { settings })],
    );
    expect(planned?.write?.state.settings).toEqual({ ...settings, username: 'ops' });
    expect(planned?.item.changes.map(({ field }) => field)).toEqual(['host', 'settings.username']);
    const host = { name: 'db', host: 'db', settings: { username: 'ops', jump_hosts: ['gate'] } };
    expect(schemaProblems(ImportedHostSchema, host)).toMatchObject([{ path: 'settings.jump_hosts' }]);
  });

  it('creates, changes, leaves unchanged and marks as gone', async () => {
    expect(
      await summary(
        [
          wanted('new', { port: 22, labels: { env: 'prod' } }),
          wanted('same'),
          wanted('moved', { host: '10.0.0.9' }),
        ],
        [current('same'), current('moved'), current('old')],
      ),
    ).toEqual([
      'create | new | name: null → new | host: null → new.example | port: null → 22 | operatingSystem: null → linux | labels.env: null → prod',
      'unchanged | same',
      'update | moved | host: moved.example → 10.0.0.9',
      'gone | old',
    ]);
  });

  it('removes what the inventory gave but no longer gives, and leaves what people gave', async () => {
    const given = { fields: ['port', 'settings.username'], labels: ['env'], groups: ['web'] };
    const target = current('a', {
      given,
      port: 2222,
      settings: { username: 'x', connect_timeout: 5 },
      labels: { env: 'prod', team: 'blue' },
      listed: ['web', 'by-hand'],
      description: 'mine',
    });
    const [item] = await plan([wanted('a')], [target]);
    expect(item?.item.changes.map(({ field, to }) => [field, to])).toEqual([
      ['port', null],
      ['settings.username', null],
      ['labels.env', null],
      ['groups.web', null],
    ]);
    expect(item?.write?.state).toMatchObject({
      settings: { connect_timeout: 5 },
      labels: { team: 'blue' },
      description: 'mine',
    });
    expect(item?.write?.leave).toEqual(['web']);
  });

  it('writes nothing if nothing differs, except which fields the inventory gives', async () => {
    expect((await plan([wanted('a')], [current('a')]))[0]?.write).toBeUndefined();
    const [item] = await plan(
      [wanted('a', { labels: { env: 'x' } })],
      [current('a', { labels: { env: 'x' } })],
    );
    expect(item?.item).toMatchObject({ action: 'unchanged', changes: [] });
    expect(item?.write?.given.labels).toEqual(['env']);
  });

  it('does not list a target in a group that excludes it', async () => {
    const hosts = [wanted('a', { groups: ['web', 'db'] })];
    const [item] = await plan(hosts, [current('a', { excluded: ['web'], listed: ['db'] })]);
    expect(item?.item.changes).toEqual([]);
  });

  it('says which accepted host keys are forgotten, even if only the protocol changes the port', async () => {
    const keys = { acceptedHostKeys: 2 };
    const forgotten = async (host: Partial<WantedHost>, target: Partial<CurrentTarget>) =>
      (await plan([wanted('a', host)], [current('a', { ...keys, ...target })]))[0]?.item.forgottenHostKeys;
    expect(await forgotten({}, {})).toBe(0);
    expect(await forgotten({ host: 'A.EXAMPLE' }, {})).toBe(0);
    expect(await forgotten({ host: 'b.example' }, {})).toBe(2);
    expect(await forgotten({ port: 22 }, {})).toBe(0);
    expect(await forgotten({ port: 22 }, { inherited: { port: 2222 } })).toBe(2);
    expect(await forgotten({ settings: { protocol: 'winrm' } }, {})).toBe(2);
  });

  it('reactivates what it deactivated as gone, but not what people deactivated', async () => {
    const given = { fields: [], labels: [], groups: [] };
    const target = (deactivated: boolean) =>
      current('a', {
        isActive: false,
        isGone: true,
        given: { ...given, ...(deactivated ? { deactivated } : {}) },
      });
    expect(await summary([wanted('a')], [target(true)])).toEqual(['update | a | isActive: false → true']);
    expect(await summary([wanted('a')], [target(false)])).toEqual(['unchanged | a']);
    expect((await plan([wanted('a')], [target(false)]))[0]?.write).toBeDefined();
  });
});

describe('conflicts', () => {
  it('are hosts that are named twice, at each place', async () => {
    const items = await plan(
      [wanted('a', { line: 3 }), wanted('b'), wanted('a', { line: 9 })],
      [current('a'), current('b')],
    );
    expect(items.map(({ item }) => item.action)).toEqual(['conflict', 'unchanged', 'conflict']);
    expect(items.map(({ item }) => item.conflict?.message)).toEqual([
      'The inventory names it twice, also at hosts:9.',
      undefined,
      'The inventory names it twice, also at hosts:3.',
    ]);
  });

  it('are targets created by hand or of another inventory, until they are adopted', async () => {
    const byHand = current('a', { inventoryId: null, inventoryKey: null, given: null });
    const others = current('b', { inventoryId: 8, inventoryName: 'cmdb' });
    const hosts = [wanted('a'), wanted('b')];
    const actions = async (adopt: 'none' | 'by_hand' | 'any') =>
      (await plan(hosts, [byHand, others], adopt)).map(
        ({ item }) => item.adoptedFrom ?? item.conflict?.reason,
      );
    expect(await actions('none')).toEqual(['by_hand', 'other_inventory']);
    expect(await actions('by_hand')).toEqual(['by hand', 'other_inventory']);
    expect(await actions('any')).toEqual(['by hand', 'cmdb']);
    expect(countPlan(await plan(hosts, [byHand, others], 'any'))).toMatchObject({
      update: 2,
      adopted: 2,
      conflict: 0,
    });
  });

  it('are names that another target keeps, not names that are swapped', async () => {
    const targets = [current('a'), current('b'), current('c', { inventoryId: null, inventoryKey: null })];
    const swapped = [
      wanted('b', { key: 'a', host: 'a.example' }),
      wanted('a', { key: 'b', host: 'b.example' }),
    ];
    expect(await summary(swapped, targets)).toEqual(['update | b | name: a → b', 'update | a | name: b → a']);
    expect(await summary([wanted('c', { key: 'a' }), wanted('b')], targets)).toEqual([
      'conflict | c | name_taken',
      'unchanged | b',
    ]);
  });

  it('are more labels than a target may have', async () => {
    const labels = Object.fromEntries(Array.from({ length: 64 }, (_, n) => [`l${n}`, '']));
    expect(await summary([wanted('a', { labels })], [current('a', { labels: { mine: '' } })])).toEqual([
      'conflict | a | too_many_labels',
    ]);
  });
});

describe('the same host', () => {
  it('is recognized by its name under a new key, if the inventory no longer has the old key', async () => {
    const items = await plan([wanted('a', { key: 'uuid-1' })], [current('a')]);
    expect(items.map(({ item }) => item.action)).toEqual(['unchanged']);
    expect(items[0]?.write?.key).toBe('uuid-1');
  });

  it('in another segment is another target', async () => {
    expect(await summary([wanted('a', { segmentId: 2, segmentName: 'lan' })], [current('a')])).toEqual([
      expect.stringMatching(/^create \| a/),
      'gone | a',
    ]);
  });
});

it('other work gets its turn while thousands of hosts are compared', async () => {
  const hosts = Array.from({ length: 5_000 }, (_, n) => wanted(`h${n}`));
  const { result, turns } = await turnsDuring(() => plan(hosts, []));
  expect(result).toHaveLength(5_000);
  expect(turns).toBeGreaterThanOrEqual(10);
});
