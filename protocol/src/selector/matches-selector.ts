import type { SelectableTarget, Selector } from './selector.ts';

/** Whether a target matches the selector. The server's SQL must give the same answer. */
export function matchesSelector(selector: Selector, target: SelectableTarget): boolean {
  switch (selector.kind) {
    case 'and':
      return selector.terms.every((term) => matchesSelector(term, target));
    case 'or':
      return selector.terms.some((term) => matchesSelector(term, target));
    case 'not':
      return !matchesSelector(selector.term, target);
    case 'label':
      return Object.hasOwn(target.labels, selector.name);
    case 'value':
      return (
        Object.hasOwn(target.labels, selector.name) &&
        selector.values.includes(target.labels[selector.name] ?? '')
      );
    case 'os':
      return selector.values.includes(target.operatingSystem);
    case 'segment':
      return matchesPattern(selector.pattern, target.segment);
    case 'group':
      return target.groups.some((group) => matchesPattern(selector.pattern, group));
    case 'name':
      return matchesPattern(selector.pattern, target.name);
    case 'host':
      return matchesPattern(selector.pattern.toLowerCase(), target.host.toLowerCase());
  }
}

/** Greedy from left to right: `*` is the only wildcard, so the leftmost place of each piece is good enough. */
function matchesPattern(pattern: string, text: string): boolean {
  const pieces = pattern.split('*');
  const first = pieces.shift() ?? '';
  const last = pieces.pop();
  if (last === undefined) return text === first;
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last))
    return false;
  const end = text.length - last.length;
  let at = first.length;
  for (const piece of pieces) {
    const found = text.indexOf(piece, at);
    if (found < 0 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}
