// Which fields of a definition were filled in from defaults.

/** Paths that the filled value has and the given one has not: `steps[0].config.timeout`. */
export function filledPaths(given: unknown, filled: unknown, path = ''): string[] {
  if (Array.isArray(given) && Array.isArray(filled)) {
    return filled.flatMap((item, at) => filledPaths(given[at], item, `${path}[${at}]`));
  }
  if (!isObject(given) || !isObject(filled)) return [];
  return Object.entries(filled).flatMap(([name, value]) => {
    const here = path === '' ? name : `${path}.${name}`;
    return Object.hasOwn(given, name) ? filledPaths(given[name], value, here) : [here];
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
