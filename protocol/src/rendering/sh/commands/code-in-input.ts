// Finds the shell text that a command reads, as far as the script itself has it: `sh <<'END'`, `bash <<< '…'`,
// `echo '…' | sh`, `. <(echo '…')`. It sees variables of the script, so values that they hold must be followed into it.
import type { Command, List, Segment, Simple, Word } from '../reading/syntax.ts';
import { literalOf } from '../reading/syntax.ts';
import { type CodeInArguments, codeOf, handsToShell, isShell } from './code-in-arguments.ts';
import { launchedBy } from './commands-behind.ts';
import { baseName } from './interpreters.ts';
import { commandBehind, resolveCommand } from './resolve-command.ts';

/** Words, or bodies of here-documents, one line or more each. */
export type Texts = readonly (readonly Segment[])[];
/** What a command reads; made only for those that are shells. */
export type Inputs = () => readonly Texts[];

/** Cache, because several commands may read the same. */
const printed = new WeakMap<Command, Texts>();

/**
 * Returns the shell texts that a command runs from its input.
 *
 * @param inputs What it reads.
 */
export function codeInInput(command: Simple, inputs: Inputs, isBash: boolean): CodeInArguments[] {
  const resolved = resolveCommand(command.words);
  const words = resolved.name === undefined ? commandBehind(command.words, resolved) : command.words;
  const reader = [words, ...(launchedBy(words) ?? [])].map(readerOf).find((name) => name !== undefined);
  if (reader === undefined) return [];
  const by = {
    name: reader,
    isBash: baseName(reader) === 'bash' || (isBash && /^(\.|source)$/.test(reader)),
    hasOwnArguments: !/^(\.|source)$/.test(reader),
  };
  return [...inputs(), ...substituted(words)].flatMap((texts) => {
    const code = codeOf(texts, '\n', by);
    return code === undefined ? [] : [code];
  });
}

/** Returns the name of the shell that reads its commands here. */
function readerOf(words: readonly Word[]): string | undefined {
  const { name, index } = resolveCommand(words);
  if (name === undefined) return undefined;
  const rest = words.slice(index + 1);
  const runsText = rest.some((word) => /^-[A-Za-z]*c/.test(literalOf(word) ?? ''));
  if (baseName(name) === 'xargs') {
    const shell = rest.map((word) => literalOf(word) ?? '').find(isShell);
    return runsText ? shell : undefined;
  }
  if (runsText) return undefined;
  if (/^(\.|source)$/.test(name)) return isInput(rest[0]) ? name : undefined;
  if (handsToShell.has(baseName(name))) return 'sh';
  if (!isShell(name)) return undefined;
  const script = rest.find((word) => !/^[-+]/.test(literalOf(word) ?? ''));
  const readsInput = script === undefined || isInput(script) || rest.some((word) => literalOf(word) === '-s');
  return readsInput ? name : undefined;
}

/** `/dev/stdin`, `<(…)` */
function isInput(word: Word | undefined): boolean {
  return (
    /^(\/dev\/stdin|\/dev\/fd\/0|\/proc\/self\/fd\/0)$/.test(literalOf(word) ?? '') ||
    word?.segments.some((segment) => segment.kind === 'command' && segment.style === 'process') === true
  );
}

/** Whether redirections give a command something to read. */
export function hasInput({ redirects }: Command): boolean {
  return redirects.some(({ operator }) => operator.startsWith('<'));
}

/** What they give it. */
export function inputsOf({ redirects }: Command): Texts[] {
  return redirects.flatMap(({ operator, word, body }) => {
    if (body !== undefined) return [[body.segments]];
    if (operator === '<<<') return [[word.segments]];
    return operator === '<' ? substituted([word]) : [];
  });
}

function substituted(words: readonly Word[]): Texts[] {
  return words
    .flatMap(({ segments }) => segments)
    .flatMap((segment) =>
      segment.kind === 'command' && segment.style === 'process' && segment.isOutput !== true
        ? [printedByList(segment.body)]
        : [],
    );
}

/** What a command prints, if that stands in the script. */
export function printedBy(command: Command): Texts {
  const before = printed.get(command);
  if (before !== undefined) return before;
  const texts = textsPrintedBy(command);
  printed.set(command, texts);
  return texts;
}

function textsPrintedBy(command: Command): Texts {
  if (command.kind === 'compound') return command.lists.flatMap(printedByList);
  const { name, index } = resolveCommand(command.words);
  const rest = command.words.slice(index + 1);
  if (name === 'cat') return inputsOf(command).flat();
  if (name === 'printf') return rest.map(({ segments }) => segments);
  if (name !== 'echo') return [];
  const from = rest.findIndex((word) => !/^-[neE]+$/.test(literalOf(word) ?? ''));
  if (from < 0) return [];
  const blank: Segment = { kind: 'text', text: ' ', quoting: 'bare', at: command.at };
  return [rest.slice(from).flatMap(({ segments }) => [...segments, blank])];
}

function printedByList({ pipelines }: List): Texts {
  return pipelines.flatMap(({ commands: [first, more] }) =>
    first === undefined || more !== undefined ? [] : printedBy(first),
  );
}
