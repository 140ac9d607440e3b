import type { EffectiveSettings } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { givenSettings, inheritedOf } from './settings.ts';

const group = { kind: 'group', id: 3, name: 'Web' } as const;
const builtIn = { kind: 'default', id: null, name: '' } as const;
const own = { kind: 'target', id: 1, name: '' } as const;
const effective: EffectiveSettings = {
  targetId: 1,
  jobId: null,
  stepNumber: null,
  settings: [
    {
      name: 'port',
      value: 2222,
      display: '2222',
      source: own,
      overridden: [
        { value: 2022, display: '2022', source: group },
        { value: 22, display: '22', source: builtIn },
      ],
      problem: null,
    },
    { name: 'protocol', value: 'ssh', display: 'ssh', source: builtIn, overridden: [], problem: null },
    { name: 'credential', value: 'c', display: 'web', source: own, overridden: [], problem: null },
  ],
};

test('the inherited value is the nearest one that is not the target’s own, with its source', () => {
  expect(inheritedOf(effective, 'port')).toBe('2022, from group Web');
  expect(inheritedOf(effective, 'protocol')).toBe('ssh, built in');
  expect(inheritedOf(effective, 'credential')).toBe('none');
});

test('only the settings that a place passes on are shown', () => {
  expect(givenSettings({})).toEqual([]);
  expect(givenSettings({ port: 22, connect_timeout: 5 })).toEqual([
    { name: 'Port', value: '22' },
    { name: 'Connect timeout', value: '5 s' },
  ]);
});
