// What every route needs, and on what: the permission matrix that the walk tests and docs/permissions.md shows. A route
// that is missing here fails the suite.
import { auditNeeds } from './audit.ts';
import { fileNeeds } from './files.ts';
import { jobNeeds } from './jobs.ts';
import type { Needs } from './needs.ts';
import { peopleNeeds } from './people.ts';
import { runNeeds } from './runs.ts';
import { segmentNeeds } from './segments.ts';
import { targetNeeds } from './targets.ts';

export type { Case, Needs, Requirement } from './needs.ts';

/**
 * Keyed by method and path below `/api/v1/`. The path of a case replaces the route's parameters and whatever follows
 * them.
 */
export const routeNeeds: Record<string, Needs> = {
  ...peopleNeeds,
  ...jobNeeds,
  ...runNeeds,
  ...fileNeeds,
  ...segmentNeeds,
  ...targetNeeds,
  ...auditNeeds,
};
