// Parses PowerShell with a parser other than ours, tree-sitter's grammar. Used only by tests.
import { createRequire } from 'node:module';
import { Language, type Node, Parser } from 'web-tree-sitter';

export interface ForeignScript {
  /** Whether the script as a whole is valid. */
  isSound: boolean;
  /** For each reference to a variable, the commands whose arguments contain it, innermost first. */
  commandsOf: Map<number, string[]>;
  /** Ranges of the text in which nothing expands. */
  verbatim: { from: number; to: number }[];
}

/** Loads the parser; resolves with a function that parses one script. */
export async function foreignParser(): Promise<(text: string) => ForeignScript> {
  await Parser.init();
  const path = createRequire(import.meta.url).resolve('tree-sitter-powershell/tree-sitter-powershell.wasm');
  const parser = new Parser();
  parser.setLanguage(await Language.load(path));
  return (text) => {
    const tree = parser.parse(text);
    if (tree === null) throw new Error('the parser gave up');
    const script: ForeignScript = {
      isSound: !tree.rootNode.hasError,
      commandsOf: new Map(),
      verbatim: [],
    };
    visit(tree.rootNode, [], script);
    tree.delete();
    return script;
  };
}

function visit(node: Node, commands: readonly string[], script: ForeignScript): void {
  const name = node.type === 'command' ? node.childForFieldName('command_name')?.text : undefined;
  const inner = name === undefined ? commands : [name, ...commands];
  if (node.type === 'variable') script.commandsOf.set(node.startIndex, [...inner]);
  if (/^(verbatim|comment)/.test(node.type))
    script.verbatim.push({ from: node.startIndex, to: node.endIndex });
  for (const child of node.children) if (child !== null) visit(child, inner, script);
}
