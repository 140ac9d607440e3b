// What every route needs, and on what: the permission matrix as the walk tests it and docs/permissions.md shows it. A
// route that is not here fails the suite.
import { auditNeeds } from './audit.ts';
import { fileNeeds } from './files.ts';
import { jobNeeds } from './jobs.ts';
import type { Needs } from './needs.ts';
import { peopleNeeds } from './people.ts';
import { runNeeds } from './runs.ts';
import { segmentNeeds } from './segments.ts';
import { targetNeeds } from './targets.ts';

export type { Case, Needs, Requirement } from './needs.ts';

/** By method and path below `/api/v1/`. The path of a case is what stands for the parameters, or goes on after them. */
export const routeNeeds: Record<string, Needs> = {
  ...peopleNeeds,
  ...jobNeeds,
  ...runNeeds,
  ...fileNeeds,
  ...segmentNeeds,
  ...targetNeeds,
  ...auditNeeds,
};
