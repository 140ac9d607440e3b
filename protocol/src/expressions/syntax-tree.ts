// The parsed expression, as far as we need it: which parameters it names and which functions it calls. This walks the
// library's tree including what its macros made of calls, because that is what is evaluated.
import type { ASTNode } from '@marcbachmann/cel-js';

/** A node of the library's tree. Its `meta` holds what is evaluated instead of the node. */
export interface Node {
  op: string;
  args: unknown;
  pos: number;
  start: number;
  end: number;
  meta: { alternate?: Node; macro?: { args?: unknown }; evaluate?: (...all: unknown[]) => unknown };
  handle?: (...all: unknown[]) => unknown;
}

export const rootOf = (ast: ASTNode): Node => ast as unknown as Node;

/** Returns every node once, including those made by macros. */
export function nodesOf(root: Node): Node[] {
  const found = new Set<Node>();
  const waiting: unknown[] = [root];
  while (waiting.length > 0) {
    const next = waiting.pop();
    if (Array.isArray(next)) waiting.push(...next);
    else if (isNode(next)) {
      if (found.has(next)) continue;
      found.add(next);
      waiting.push(next.args, next.meta.alternate, next.meta.macro?.args);
    } else if (isPlainObject(next)) waiting.push(...Object.values(next));
  }
  return [...found];
}

/** Returns the nodes that the author wrote, in order. */
export function writtenNodesOf(root: Node): Node[] {
  const found: Node[] = [];
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) for (const one of value) visit(one);
    else if (isNode(value)) {
      found.push(value);
      visit(value.args);
    }
  };
  visit(root);
  return found;
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'op' in value && 'meta' in value && 'pos' in value;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** Returns the names in `parameters.a.b` or `parameters["a"].b`; `undefined` for anything else. */
export function memberPath(node: Node): string[] | undefined {
  if (node.op === 'id') return typeof node.args === 'string' ? [node.args] : undefined;
  if (node.op !== '.' && node.op !== '[]') return undefined;
  const [object, member] = node.args as [Node, unknown];
  const path = memberPath(object);
  const name = node.op === '.' ? member : isNode(member) && member.op === 'value' ? member.args : undefined;
  return path === undefined || typeof name !== 'string' ? undefined : [...path, name];
}

/** Returns the name and arguments of a call; the receiver of `text.size()` is the first argument. */
export function callOf(node: Node): { name: string; args: Node[]; isMethod: boolean } | undefined {
  if (node.op === 'call') {
    const [name, args] = node.args as [string, Node[]];
    return { name, args, isMethod: false };
  }
  if (node.op !== 'rcall') return undefined;
  const [name, receiver, args] = node.args as [string, Node, Node[]];
  return { name, args: [receiver, ...args], isMethod: true };
}
