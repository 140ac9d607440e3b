// For tests: parses the PowerShell that is shipped with the tree-sitter grammar.
import { createRequire } from 'node:module';
import { Language, Parser } from 'web-tree-sitter';

export async function isSoundPowershell(text: string): Promise<boolean> {
  await Parser.init();
  const path = createRequire(import.meta.url).resolve('tree-sitter-powershell/tree-sitter-powershell.wasm');
  const parser = new Parser();
  parser.setLanguage(await Language.load(path));
  const tree = parser.parse(text);
  return tree !== null && !tree.rootNode.hasError;
}
