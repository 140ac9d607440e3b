// Checks what an expression names and calls: everything must exist, nothing may be secret, and `has(…)` must guard what
// may have no value. So that the text alone shows this, `parameters` and `steps` may only be used with a name after
// them.
import type { ASTNode } from '@marcbachmann/cel-js';
import { compilePattern, isPattern } from '../patterns/pattern.ts';
import { nearName } from '../validation-wording.ts';
import { functions } from './environment.ts';
import type { Member } from './scope.ts';
import { callOf, memberPath, type Node, rootOf, writtenNodesOf } from './syntax-tree.ts';
import { type ExpressionProblem, placed } from './wording.ts';

const iterating = new Set(['all', 'exists', 'exists_one', 'map', 'filter']);

interface Named {
  path: string[];
  node: Node;
  /** Whether it is inside `has(…)`. */
  isAsked: boolean;
}

/** Returns the paths that the expression names, and those for which it asks `has(…)`. */
export function namesOf(ast: ASTNode): { names: string[]; asked: string[] } {
  const named = namedIn(rootOf(ast));
  const spelled = (some: readonly Named[]) => [...new Set(some.map(({ path }) => path.join('.')))];
  return { names: spelled(named), asked: spelled(named.filter(({ isAsked }) => isAsked)) };
}

/** Returns what is wrong with the names and calls in the expression. */
export function nodeProblems(
  ast: ASTNode,
  text: string,
  members: Record<string, Member>,
  { asked: askedBefore = [], mayBeAbsent = false }: { asked?: readonly string[]; mayBeAbsent?: boolean },
): ExpressionProblem[] {
  const root = rootOf(ast);
  const nodes = writtenNodesOf(root);
  const named = namedIn(root);
  const asked = new Set([
    ...askedBefore,
    ...named.filter(({ isAsked }) => isAsked).map(({ path }) => path.join('.')),
  ]);
  const problems = [
    ...nodes.flatMap((node) => callProblems(node, text)),
    ...named.flatMap((one) => nameProblems(one, text, members, mayBeAbsent ? undefined : asked)),
  ];
  return problems.sort((a, b) => a.line - b.line || a.column - b.column).slice(0, 10);
}

/** Finds the longest paths, leaving out the names that macros bind. */
function namedIn(root: Node): Named[] {
  const found: Named[] = [];
  const visit = (value: unknown, bound: ReadonlySet<string>, isAsked: boolean): void => {
    if (Array.isArray(value)) {
      for (const one of value) visit(one, bound, isAsked);
      return;
    }
    if (typeof value !== 'object' || value === null || !('op' in value)) return;
    const node = value as Node;
    const path = memberPath(node);
    if (path !== undefined) {
      if (!bound.has(path[0] ?? '')) found.push({ path, node, isAsked });
      return;
    }
    const call = callOf(node);
    const variable = call !== undefined && iterating.has(call.name) ? call.args[1] : undefined;
    if (call?.isMethod === true && variable?.op === 'id') {
      visit(call.args[0], bound, isAsked);
      visit(call.args.slice(2), new Set([...bound, String(variable.args)]), isAsked);
    } else if (call !== undefined) visit(call.args, bound, isAsked || call.name === 'has');
    else visit(node.args, bound, isAsked);
  };
  visit(root, new Set(), false);
  return found;
}

function callProblems(node: Node, text: string): ExpressionProblem[] {
  const call = callOf(node);
  if (call === undefined) return [];
  const { name, args, isMethod } = call;
  if (!Object.hasOwn(functions, name)) {
    const near = nearName(name, Object.keys(functions));
    const message = `There is no function ${name}${near === undefined ? '' : `; did you mean ${near}?`}`;
    const at = isMethod ? text.indexOf(name, args[0]?.end ?? node.start) : node.start;
    return [
      placed(text, Math.max(at, 0), near === undefined ? `${message}.` : message, {
        allowed: Object.keys(functions).join(', '),
      }),
    ];
  }
  if (name !== 'matches') return [];
  const source = args[1];
  if (source === undefined) return [];
  if (source.op !== 'value' || typeof source.args !== 'string') {
    return [
      placed(text, source.start, 'The pattern of matches() must be written out here, in quotes.', {
        found: text.slice(source.start, source.end),
      }),
    ];
  }
  const pattern = compilePattern(source.args);
  return isPattern(pattern)
    ? []
    : [placed(text, source.start, patternSentence(pattern.message, pattern.column))];
}

function patternSentence(message: string, column: number | undefined): string {
  return column === undefined ? message : `Character ${column} of the pattern: ${message}`;
}

function nameProblems(
  { path, node, isAsked }: Named,
  text: string,
  members: Record<string, Member>,
  asked: ReadonlySet<string> | undefined,
): ExpressionProblem[] {
  const end = text.slice(node.start, node.end);
  const problem = (message: string, allowed?: string) => [
    placed(text, node.start, message, { found: end, ...(allowed === undefined ? {} : { allowed }) }),
  ];
  let inside: Record<string, Member> | undefined = members;
  for (const [index, name] of path.entries()) {
    if (inside === undefined) return [];
    const spelled = path.slice(0, index + 1).join('.');
    const member: Member | undefined = Object.hasOwn(inside, name) ? inside[name] : undefined;
    if (member === undefined) return problem(...unknownName(path, index, inside));
    if (member.secret === true) {
      return problem(
        `${spelled} is secret, and expressions can’t refer to secrets: their results would reveal something about them.`,
      );
    }
    const isLast = index === path.length - 1;
    if (member.mayBeAbsent === true && !(isAsked && isLast) && asked?.has(spelled) === false) {
      const otherwise = members.parameters === undefined ? '' : ', or give it a default';
      return problem(`${spelled} may have no value; ask first: \`has(${spelled}) && …\`${otherwise}.`);
    }
    inside = member.members;
  }
  const isWhole = path.length === 1 && (path[0] === 'parameters' || path[0] === 'steps');
  if (!isWhole && !(path[0] === 'steps' && path.length < 4)) return [];
  return problem(
    path[0] === 'steps'
      ? 'Name an output: `steps.<id>.outputs.<name>`.'
      : `Name one of them: \`parameters.<name>\`.`,
    list(inside),
  );
}

function unknownName(
  path: readonly string[],
  index: number,
  inside: Record<string, Member>,
): [message: string, allowed?: string | undefined] {
  const name = path[index] ?? '';
  const before = path.slice(0, index).join('.');
  const names = Object.keys(inside);
  const near = nearName(name, names);
  const hint = near === undefined ? '.' : `; did you mean ${near}?`;
  if (index === 0) {
    const parameter = Object.hasOwn(inside.parameters?.members ?? {}, name);
    return parameter
      ? [`Write \`parameters.${name}\`.`]
      : [`There is no ${name} here${hint}`, names.join(', ')];
  }
  if (before === 'steps') {
    return [
      `No step before this one is called ${name}${hint}`,
      list(inside) ?? 'steps before this one, by their id',
    ];
  }
  if (names.length === 0) return [`${before} has nothing inside it: it is not an object.`];
  return [`${before} has no ${name}${hint}`, list(inside)];
}

function list(inside: Record<string, Member> | undefined): string | undefined {
  const names = Object.keys(inside ?? {});
  if (names.length === 0) return undefined;
  return names.length <= 12
    ? names.join(', ')
    : `${names.slice(0, 12).join(', ')}, … (${names.length} in all)`;
}
