// What the permission matrix of the routes is written in: places, cases, and how one thing on each side is read or changed.
import type { Permission } from '@opsconductor/protocol';
import type { Place, Side, WalkedRun, World } from './authorization-world.ts';

/** One request, with what must be read for it to find anything, and what is then needed. */
export interface Case {
  path: string;
  json?: unknown;
  /** What it is sent as, where that is not JSON. */
  contentType?: string;
  reads?: Requirement[];
  needs?: [Permission, Requirement][];
  /** Answer to who may not read it, where the request only refers to it. */
  unseen?: 400;
}
/** The right holds on one of these places at least, or on each of them. */
export type Requirement = { one: readonly Place[] } | { each: readonly Place[] };

/** What a list has: its text is in the answer for who may read one of the places, and for nobody else. */
export interface Listed {
  text: string;
  seen: readonly Place[];
}

export type Needs =
  /** `answers`: what a request without anything in it gets. */
  | { public: true; answers?: 200 | 404 }
  /** Of anybody who is signed in, for their own account. */
  | { self: true }
  | { everywhere: Permission }
  /** `on` is what docs/permissions.md says. */
  | { permission: Permission; on: string; cases: (world: World) => Case[] }
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

/** Changes one thing on each side, which must be seen. */
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
