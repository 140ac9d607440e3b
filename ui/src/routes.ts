// The map of the console: which page stands at which path.

export type PageName =
  | 'jobs'
  | 'job'
  | 'new-job'
  | 'runs'
  | 'run'
  | 'targets'
  | 'agents'
  | 'credentials'
  | 'account'
  | 'sign-in'
  | 'not-found';

export interface Route {
  page: PageName;
  /** Id in the path, where the page has one. */
  id?: number;
}

const table: readonly (readonly [RegExp, PageName])[] = [
  [/^\/(?:jobs)?$/, 'jobs'],
  [/^\/jobs\/new$/, 'new-job'],
  [/^\/jobs\/([1-9][0-9]{0,14})$/, 'job'],
  [/^\/runs$/, 'runs'],
  [/^\/runs\/([1-9][0-9]{0,14})$/, 'run'],
  [/^\/targets$/, 'targets'],
  [/^\/agents$/, 'agents'],
  [/^\/credentials$/, 'credentials'],
  [/^\/account$/, 'account'],
  [/^\/sign-in$/, 'sign-in'],
];

export function matchRoute(path: string): Route {
  const clean = path.length > 1 ? path.replace(/\/+$/, '') : path;
  for (const [pattern, page] of table) {
    const found = pattern.exec(clean);
    if (found !== null) return found[1] === undefined ? { page } : { page, id: Number(found[1]) };
  }
  return { page: 'not-found' };
}
