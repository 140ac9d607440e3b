// What every route needs, and on what: the permission matrix as the walk tests it and docs/permissions.md shows it. A
// route that is not here fails the suite.
import { auditNeeds } from './authorization/audit.ts';
import { fileNeeds } from './authorization/files.ts';
import { jobNeeds } from './authorization/jobs.ts';
import type { Needs } from './authorization/needs.ts';
import { peopleNeeds } from './authorization/people.ts';
import { runNeeds } from './authorization/runs.ts';
import { segmentNeeds } from './authorization/segments.ts';
import { targetNeeds } from './authorization/targets.ts';

export type { Case, Needs, Requirement } from './authorization/needs.ts';

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
