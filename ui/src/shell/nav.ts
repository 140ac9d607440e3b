// The console's navigation and which pages belong to each item. Items that the user may not see are left out.
import type { Permission } from '@opsconductor/protocol';
import { paths } from '../paths.ts';
import { type PageName, pageNeeds } from '../routes.ts';

export interface NavItem {
  label: string;
  href: string;
  /** The first is the page that the item links to. */
  pages: readonly [PageName, ...PageName[]];
}

const navItems: readonly NavItem[] = [
  { label: 'Runs', href: paths.runs(), pages: ['runs', 'run', 'queue'] },
  {
    label: 'Jobs',
    href: paths.jobs(),
    pages: [
      'jobs',
      'job',
      'job-versions',
      'job-version',
      'job-comparison',
      'job-history',
      'job-statistics',
      'new-job',
      'edit-job',
      'jobs-health',
      'starters',
      'from-starter',
      'categories',
      'files',
      'import-jobs',
      'site-rules',
      'new-site-rule',
      'site-rule',
    ],
  },
  {
    label: 'Targets',
    href: paths.targets(),
    pages: [
      'targets',
      'target-groups',
      'target-group',
      'new-target-group',
      'edit-target-group',
      'inventories',
      'new-inventory',
      'inventory',
      'scans',
      'scan',
      'known-hosts',
      'host-trust',
    ],
  },
  { label: 'Agents', href: paths.agents(), pages: ['agents', 'agent'] },
  { label: 'Credentials', href: paths.credentials(), pages: ['credentials'] },
  {
    label: 'People',
    href: paths.people(),
    pages: ['people', 'user', 'user-groups', 'user-group', 'permissions'],
  },
  { label: 'Audit', href: paths.audit(), pages: ['audit'] },
];

export function navItemsFor(may: (permission: Permission) => boolean): NavItem[] {
  return navItems.filter(({ pages: [page] }) => {
    const needed = pageNeeds[page];
    return needed === undefined || may(needed);
  });
}
