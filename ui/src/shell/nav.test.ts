import type { Permission } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import { navItemsFor } from './nav.ts';

const shownTo = (...held: Permission[]) =>
  navItemsFor((permission) => held.includes(permission)).map(({ label }) => label);

it('places are shown to those who may see them', () => {
  expect(shownTo('read')).toEqual(['Runs', 'Jobs', 'Targets', 'Agents', 'Credentials']);
  expect(shownTo('audit.read')).toEqual(['Audit']);
  expect(shownTo('read', 'people.edit', 'audit.read').slice(5)).toEqual(['People', 'Audit']);
  expect(shownTo('self')).toEqual([]);
});
