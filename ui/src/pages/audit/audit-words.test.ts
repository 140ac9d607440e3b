import { describe, expect, it } from 'vitest';
import {
  alteredWords,
  detailFields,
  detailWords,
  isRefusal,
  objectPath,
  objectWords,
} from './audit-words.ts';

describe('a row of the audit log', () => {
  it.each([
    ['request.refused', true],
    ['session.sign_in_failed', true],
    ['agent.quarantined', true],
    ['audit.checkpoint_refused', true],
    ['audit.row_missing', true],
    ['user.changed', false],
    ['run.cancel_requested', false],
  ])('%s is a refusal: %s', (action, refused) => expect(isRefusal({ action })).toBe(refused));

  it('says what was found about the log itself, and that an agent only reports it', () => {
    const refused = { action: 'audit.checkpoint_refused', actorName: 'dmz-1-a' };
    expect(alteredWords({ ...refused, actorKind: 'agent' })).toMatch(/^Agent dmz-1-a says/);
    expect(alteredWords({ ...refused, actorKind: 'system' })).toMatch(/the server saw before/);
    expect(alteredWords({ ...refused, action: 'audit.row_missing', actorKind: 'system' })).toMatch(/missing/);
  });

  it('names its object if the detail has a name, including in a change', () => {
    const object = { objectKind: 'user_group', objectId: '7' };
    expect(objectWords({ ...object, detail: { name: 'night-shift' } })).toBe('user group night-shift');
    expect(objectWords({ ...object, detail: { from: { name: 'a' }, to: { name: 'b' } } })).toBe(
      'user group b',
    );
    expect(objectWords({ ...object, detail: {} })).toBe('user group 7');
    expect(objectWords({ objectKind: null, objectId: null, detail: { name: 'x' } })).toBe('');
  });

  it('links to the page of its object, if there is one', () => {
    expect(objectPath({ objectKind: 'run', objectId: '12' })).toBe('/runs/12');
    expect(objectPath({ objectKind: 'user_group', objectId: '3' })).toBe('/people/groups/3');
    expect(objectPath({ objectKind: 'agent', objectId: '4' })).toBe('/agents/4');
    expect(objectPath({ objectKind: 'target_group', objectId: '5' })).toBe('/targets/groups/5');
    expect(objectPath({ objectKind: 'grant', objectId: '3' })).toBeUndefined();
    expect(objectPath({ objectKind: 'job', objectId: '../x' })).toBeUndefined();
  });

  it('is one shortened line of what differs and what else it records', () => {
    const change = {
      from: { name: 'a', isActive: true },
      to: { name: 'a', isActive: false },
      endedSessions: 2,
    };
    expect(detailWords(change)).toBe('isActive true → false, endedSessions 2');
    expect(
      detailWords({ name: 'x', subject: { kind: 'user', name: 'ada' }, ids: [], labels: ['a', 'b'] }),
    ).toBe('subject ada, ids none, labels a b');
    expect(detailWords({ format: 'csv', from: '2026-01-01' })).toBe('format csv, from 2026-01-01');
    expect(detailWords({ kind: 'person', description: '', selector: null })).toBe(
      'kind person, description empty, selector none',
    );
    const exclude = { groups: [], targets: 0, selector: null };
    const selection = { groups: [], exclude, targets: 4, selected: 4, selector: null };
    expect(detailWords({ jobId: 4, selection })).toBe('jobId 4, selection (targets 4, selected 4)');
    expect(detailWords({ exclude })).toBe('exclude (none)');
    expect(detailWords({ text: 'y'.repeat(50) }, 20)).toBe(`text ${'y'.repeat(14)}…`);
  });

  it('shows a change field by field, changed fields first, then the unchanged ones', () => {
    const fields = detailFields({ from: { a: '', b: 1 }, to: { a: '', b: 2, c: [1] }, note: 'x' });
    expect(fields).toEqual([
      { name: 'b', from: '1', to: '2', changed: true },
      { name: 'c', from: 'none', to: '[\n  1\n]', changed: true },
      { name: 'a', from: 'empty', to: 'empty', changed: false },
      { name: 'note', from: undefined, to: 'x', changed: false },
    ]);
    expect(detailFields({ from: 'general', to: 'patching' })).toEqual([
      { name: '', from: 'general', to: 'patching', changed: true },
    ]);
  });
});
