/**
 * Whether a link at a path of the transfer may lead out of it. A `..` after a name does: what has that name may be a
 * link too, and then it is not the directory above that is meant.
 */
export function leadsOut(relative: string, target: string): boolean {
  if (target.startsWith('/')) return true;
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const named = parts.findIndex((part) => part !== '..');
  const above = named === -1 ? parts : parts.slice(0, named);
  return above.length >= relative.split('/').length || parts.lastIndexOf('..') >= above.length;
}
