import type { Permission } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import { pageNeeds } from '../routes.ts';
import { navItemsFor } from './nav.ts';

const shownTo = (...held: Permission[]) =>
  navItemsFor((permission) => held.includes(permission)).map(({ label }) => label);

it('navigation items are shown to those who may see them', () => {
  expect(shownTo('read')).toEqual(['Runs', 'Jobs', 'Targets', 'Agents', 'Credentials']);
  expect(shownTo('audit.read')).toEqual(['Audit']);
  expect(shownTo('read', 'people.edit', 'audit.read').slice(5)).toEqual(['People', 'Audit']);
  expect(shownTo('self')).toEqual([]);
});

it('every page that needs a permission belongs to one navigation item, which is marked as current there', () => {
  const places = navItemsFor(() => true);
  const pages = Object.keys(pageNeeds);
  const of = (page: string) => places.filter((place) => place.pages.some((one) => one === page));
  expect(pages.filter((page) => of(page).length !== 1)).toEqual([]);
  expect(of('job-history').map(({ label }) => label)).toEqual(['Jobs']);
});
