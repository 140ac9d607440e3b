/**
 * Returns whether a link at a path of the transfer may lead out of it. A `..` after a name counts as leading out: that
 * name may be a link itself, and then `..` is not the directory that the text suggests.
 */
export function leadsOut(relative: string, target: string): boolean {
  if (target.startsWith('/')) return true;
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const named = parts.findIndex((part) => part !== '..');
  const above = named === -1 ? parts : parts.slice(0, named);
  return above.length >= relative.split('/').length || parts.lastIndexOf('..') >= above.length;
}
