// The vocabulary of the routes' permission matrix: places, cases, and reading or changing one thing on each side.
import type { Permission } from '@opsconductor/protocol';
import type { Place, Side, WalkedRun, World } from './authorization-world.ts';

/**
 * One request: what the caller must be able to read for it to find anything (`reads`), and what is needed then
 * (`needs`).
 */
export interface Case {
  path: string;
  json?: unknown;
  /** Content type, if it is not JSON. */
  contentType?: string;
  reads?: Requirement[];
  needs?: [Permission, Requirement][];
  /** The answer to a caller who may not read it, if the request only refers to it. */
  unseen?: 400;
}
/** The permission is needed on at least one of these places (`one`), or on every one of them (`each`). */
export type Requirement = { one: readonly Place[] } | { each: readonly Place[] };

/** An entry of a list: its text is in the answer for a caller who may read one of the places, and for nobody else. */
export interface Listed {
  text: string;
  seen: readonly Place[];
}

export type Needs =
  /** `answers`: the status that an empty request gets. */
  | { public: true; answers?: 200 | 404 }
  /** Open to anyone who is signed in, for their own account. */
  | { self: true }
  | { everywhere: Permission }
  /** `on` is the text that docs/permissions.md shows. `atOnce`: all ask together, as an answer may take seconds. */
  | { permission: Permission; on: string; cases: (world: World) => Case[]; atOnce?: true }
  | { permission: Permission; on: string; list: (world: World) => Listed[]; query?: string };

export const sides = ({ alfa, zeta }: World): Side[] => [alfa, zeta];
export const each = (...places: Place[]): Requirement => ({ each: places });
export const allOf = (run: WalkedRun): Requirement => ({ each: run.targetRuns.map(({ place }) => place) });
export const oneOf = (run: WalkedRun): Requirement => ({ one: run.targetRuns.map(({ place }) => place) });
export const everywhere = (permission: Permission): Needs => ({ everywhere: permission });
export const self: Needs = { self: true };
export const ofPublic: Needs = { public: true };

export const theSegment = 'its segment';
export const theRun = 'the job’s category, or any target of the run, which shows that part of it';

/** Reads one thing on each side. */
export function reading(on: string, cases: (side: Side) => { path: string | number; place: Place }): Needs {
  return {
    permission: 'read',
    on,
    cases: (world) =>
      sides(world).map((side) => {
        const { path, place } = cases(side);
        return { path: String(path), reads: [each(place)] };
      }),
  };
}

/** Changes one thing on each side; the caller must be able to see it. */
export function changing(
  permission: Permission,
  on: string,
  cases: (side: Side) => Omit<Case, 'reads' | 'needs'> & { place: Place },
): Needs {
  return {
    permission,
    on,
    cases: (world) =>
      sides(world).map((side) => {
        const { place, ...request } = cases(side);
        return { ...request, reads: [each(place)], needs: [[permission, each(place)]] };
      }),
  };
}

export const listing = (
  on: string,
  list: (world: World) => Listed[],
  query?: string,
  permission: Permission = 'read',
): Needs => ({
  permission,
  on,
  list,
  ...(query === undefined ? {} : { query }),
});

export const readsRuns = (pathOf: (run: WalkedRun) => string): Needs => ({
  permission: 'read',
  on: theRun,
  cases: ({ ended }) => ended.map((run) => ({ path: pathOf(run), reads: [oneOf(run)] })),
});
