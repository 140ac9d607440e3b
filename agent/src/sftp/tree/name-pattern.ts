// Sources whose last part is a pattern: what matches it in its directory is copied.
import { type PathFilter, pathFilter } from './path-filter.ts';

/** Chooses entries by their names. */
export interface Chosen {
  filter: PathFilter;
  /** Whether the filter has matched anything so far. */
  hasAny(): boolean;
}

export function isNamePattern(name: string): boolean {
  return /[*?]/.test(name);
}

/** Returns a filter for the entries at the top that match, with all that is in them. Brackets are literal. */
export function chosenBy(name: string): Chosen {
  const fits = pathFilter([`/${name.replaceAll(/[[\\]/g, '\\$&')}`], ['/*']);
  let isAny = false;
  const filter: PathFilter = (path, isDirectory) => {
    const isChosen = fits(path, isDirectory);
    isAny ||= isChosen;
    return isChosen;
  };
  return { filter, hasAny: () => isAny };
}
