// Where the console's main places are, and which pages belong to each.
import { paths } from '../paths.ts';
import type { PageName } from '../routes.ts';

export interface NavItem {
  label: string;
  href: string;
  pages: readonly PageName[];
}

export const navItems: readonly NavItem[] = [
  { label: 'Runs', href: paths.runs(), pages: ['runs', 'run'] },
  { label: 'Jobs', href: paths.jobs(), pages: ['jobs', 'job', 'new-job'] },
  { label: 'Targets', href: paths.targets(), pages: ['targets'] },
  { label: 'Agents', href: paths.agents(), pages: ['agents'] },
  { label: 'Credentials', href: paths.credentials(), pages: ['credentials'] },
];
