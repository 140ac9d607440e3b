// The subset of CEL that expressions may use: no times, no bytes, and a meter on everything that could take long.
import { type ASTNode, Environment } from '@marcbachmann/cel-js';
import { limits } from '../limits.ts';
import { compilePattern, isPattern } from '../patterns/pattern.ts';
import { meter } from './meter.ts';
import { callOf, type Node, nodesOf, rootOf } from './syntax-tree.ts';

/** Functions and macros, each with an example of its form. */
export const functions: Readonly<Record<string, string>> = {
  has: 'has(parameters.x)',
  size: 'size(x)',
  contains: 'text.contains(part)',
  startsWith: 'text.startsWith(part)',
  endsWith: 'text.endsWith(part)',
  matches: 'text.matches("pattern")',
  lowerAscii: 'text.lowerAscii()',
  upperAscii: 'text.upperAscii()',
  trim: 'text.trim()',
  substring: 'text.substring(from, to)',
  indexOf: 'text.indexOf(part)',
  split: 'text.split(separator)',
  join: 'list.join(separator)',
  all: 'list.all(x, …)',
  exists: 'list.exists(x, …)',
  exists_one: 'list.exists_one(x, …)',
  map: 'list.map(x, …)',
  filter: 'list.filter(x, …)',
  int: 'int(x)',
  double: 'double(x)',
  string: 'string(x)',
  bool: 'bool(x)',
  dyn: 'dyn(x)',
};

/** The library's versions of these take unbounded time for chosen texts, so ours replace them. */
const replaced = new Set(['contains', 'indexOf', 'split', 'matches']);
const ours = (name: string) => `metered_${name}`;

/** Searching a text of 128 KiB for a part half as long would take seconds. */
const comparisonsPerStep = 500;

function searching(text: string, part: string): void {
  meter().spend(Math.ceil((text.length * part.length) / comparisonsPerStep));
}

const base = new Environment({
  limits: {
    maxAstNodes: limits.maxExpressionNodes,
    maxDepth: limits.maxExpressionDepth,
    maxListElements: limits.maxExpressionListElements,
    maxMapEntries: limits.maxExpressionListElements,
    maxCallArguments: 8,
  },
})
  .registerFunction(`string.${ours('contains')}(string): bool`, (text: string, part: string) => {
    searching(text, part);
    return text.includes(part);
  })
  .registerFunction(`string.${ours('indexOf')}(string): int`, (text: string, part: string) => {
    searching(text, part);
    return BigInt(text.indexOf(part));
  })
  .registerFunction(`string.${ours('split')}(string): list<string>`, (text: string, separator: string) => {
    searching(text, separator);
    meter().spend(text.length >> 3);
    return text.split(separator);
  })
  .registerFunction(`string.${ours('matches')}(string): bool`, (text: string, source: string) => {
    const pattern = compilePattern(source);
    // Patterns are literals and have been checked before.
    if (!isPattern(pattern)) throw new Error(pattern.message);
    const matches = meter().patterns.matches(pattern, text);
    return matches ?? meter().exceed();
  });

/** Returns an environment with our functions and no variables, to which the caller may add. */
export function newEnvironment(): Environment {
  return base.clone();
}

/** Replaces the library's functions with ours. Must run before the types are checked. */
export function replaceFunctions(ast: ASTNode): void {
  for (const node of nodesOf(rootOf(ast))) {
    const call = callOf(node);
    if (call?.isMethod === true && replaced.has(call.name)) {
      (node.args as unknown[])[0] = ours(call.name);
    }
  }
}

/** Restores the names that authors know for our functions in messages of the library. */
export function authorsName(message: string): string {
  return message.replaceAll(/metered_(\w+)/g, '$1');
}

/** Puts every node under the meter. Must run after the types have been checked, which decides what is evaluated. */
export function putUnderMeter(ast: ASTNode): void {
  for (const node of nodesOf(rootOf(ast))) {
    const { meta } = node;
    const evaluate = meta.evaluate;
    if (evaluate !== undefined) {
      meta.evaluate = (...all) => {
        meter().spend(1);
        try {
          return evaluate(...all);
        } catch (error) {
          meter().spend(stepsPerError);
          throw error;
        }
      };
    }
    weighOperands(node);
  }
}

/** `exists` and `||` continue after an error, and the library takes long to create one. */
const stepsPerError = 20;

const weighed = new Set(['==', '!=', 'in', '+', '<', '<=', '>', '>=', 'call', 'rcall']);

/** Charges comparisons, joins and calls for the size of their operands before they run. */
function weighOperands(node: Node): void {
  const { handle } = node;
  if (handle === undefined || !weighed.has(node.op)) return;
  const isCall = node.op === 'call' || node.op === 'rcall';
  const isJoin = isCall && callOf(node)?.name === 'join';
  node.handle = (...all) => {
    const operands = isCall ? (all[0] as unknown[]) : all.slice(0, 2);
    meter().spend(operands.reduce((sum: number, one) => sum + meter().weigh(one), 0));
    if (isJoin) meter().spend(weightOfSeparators(operands));
    return handle(...all);
  };
}

/** The separator is in the joined text many times: the text can be far longer than its parts, up to no string at all. */
function weightOfSeparators([list, separator]: readonly unknown[]): number {
  if (!Array.isArray(list) || typeof separator !== 'string') return 0;
  return Math.floor((list.length * separator.length) / 32);
}
