// Finds values in a part of a script at any depth: placeholders, and variables that hold one.
import { baseName } from './commands/interpreters.ts';
import { resolveCommand } from './commands/resolve-command.ts';
import {
  anyVariable,
  type Command,
  type List,
  literalOf,
  type Redirect,
  type Segment,
  type Simple,
  type Word,
} from './reading/syntax.ts';

export type Source = { kind: 'hole'; at: number } | { kind: 'variable'; name: string; at: number };

/** Returns whether a variable holds a value. */
export type Holds = (name: string) => boolean;

/** Yields the values in the segments of a word. */
export function* inSegments(segments: readonly Segment[], holds: Holds): Generator<Source> {
  for (const segment of segments) {
    switch (segment.kind) {
      case 'hole':
        yield { kind: 'hole', at: segment.at };
        break;
      case 'parameter':
        // `${#x}` is a number.
        if (segment.prefix !== '#' && !isNameList(segment) && holds(segment.name)) {
          yield { kind: 'variable', name: segment.name, at: segment.at };
        }
        if (isIndirect(segment) && holds(anyVariable))
          yield { kind: 'variable', name: anyVariable, at: segment.at };
        yield* inSegments(segment.operator ?? [], holds);
        break;
      case 'command':
        if (segment.holes === undefined) yield* inList(segment.body, holds);
        else yield* inBackticks(segment.body, segment.holes, segment.at, holds);
        break;
      case 'arithmetic':
      case 'group':
        yield* inSegments(segment.inner, holds);
        break;
      case 'array':
        yield* inWords(segment.words, holds);
        break;
      case 'text':
        break;
    }
  }
}

/** Yields variables whose names are written in an expression, where they need no `$`; also in `${y:-x}`. */
export function* namesIn(segments: readonly Segment[], holds: Holds): Generator<Source> {
  for (const segment of segments) {
    if (segment.kind === 'text') yield* namesInText(segment.text, segment.at, holds);
    else if (segment.kind === 'parameter') yield* namesIn(segment.operator ?? [], holds);
  }
}

/** The same for `'a[i]'`, which is quoted as one word. A subscript may contain others: `a[b[0]+i]`. */
export function* namesInSubscripts(segments: readonly Segment[], holds: Holds): Generator<Source> {
  let depth = 0;
  for (const segment of segments) {
    if (segment.kind !== 'text') continue;
    for (const part of segment.text.split(/(?<=[[\]])/)) {
      if (depth > 0) yield* namesInText(part, segment.at, holds);
      if (part.endsWith('[')) depth += 1;
      else if (part.endsWith(']')) depth = Math.max(0, depth - 1);
    }
  }
}

function* namesInText(text: string, at: number, holds: Holds): Generator<Source> {
  for (const [name] of text.matchAll(/[A-Za-z_]\w*/g)) if (holds(name)) yield { kind: 'variable', name, at };
}

/** What the script wrote into a file. */
function* inFile(word: Word, holds: Holds): Generator<Source> {
  const path = fileOf(word);
  if (path !== undefined && holds(filePlace(path)))
    yield { kind: 'variable', name: filePlace(path), at: word.at };
}

/** A file holds values as a variable does; by this name. */
export function filePlace(path: string): string {
  return `>${path}`;
}

/** So does what a function prints. */
export function outputPlace(name: string): string {
  return `${name}()`;
}

/** Whether a word has a `$(cat)` in it, which prints its input. */
export function passesInput({ segments }: Word): boolean {
  return segments.some(
    (segment) =>
      segment.kind === 'command' &&
      segment.body.pipelines.some(({ commands: [first] }) => first !== undefined && isFilter(first)),
  );
}

function isFilter(command: Command): boolean {
  return command.kind === 'simple' && (printsFiles.test(nameOf(command)) || nameOf(command) === 'tr');
}

/** Returns a path as it is written, in which variables have no other form than `$name`. */
export function fileOf(word: Word | undefined): string | undefined {
  let path = '';
  for (const segment of word?.segments ?? []) {
    if (segment.kind === 'text') path += segment.text;
    else if (segment.kind === 'parameter' && segment.operator === undefined && segment.prefix === undefined)
      path += `$${segment.name}`;
    else return undefined;
  }
  return path === '' || path.startsWith('/dev/') ? undefined : path.replace(/^(\.\/)+(?=.)/, '');
}

/** Files that a command writes its output to, as `fileOf` writes them. */
export function filesWritten({ kind, words, redirects }: Command): string[] {
  const written = redirects.filter(({ operator }) => /^(&?>|<>)/.test(operator)).map(({ word }) => word);
  const name = kind === 'simple' ? nameOf({ words }) : '';
  const named = name === 'tee' ? words.slice(1) : copiesFiles.test(name) ? words.slice(-1) : [];
  return [...written, ...named].flatMap((word) => fileOf(word) ?? []);
}

/** The first of them need not be there to know that a file's text is printed. */
const printsFiles =
  /^(cat|head|tail|sort|tac|uniq|nl|rev|fold|fmt|cut|paste|[ef]?grep|sed|[gmn]?awk|base64|envsubst)$/;
const copiesFiles = /^(cp|mv|ln|install)$/;

function nameOf({ words }: Pick<Simple, 'words'>): string {
  return words.length === 0 ? '' : baseName(resolveCommand(words).name ?? '');
}

/** Variables that a command prints without a `$`: `printenv NAME`, `declare -p`. */
function printedBy({ words }: Simple): readonly string[] {
  if (words.length === 0) return [];
  const { name, index } = resolveCommand(words);
  // `env a=b` without a command
  if (name === 'env' && index >= words.length) return [anyVariable];
  const rest = words.slice(index + 1).map(literalOf);
  const names = rest.filter((text) => text === undefined || !text.startsWith('-'));
  const options = rest.some((text) => text?.startsWith('-') === true);
  const isPrinted =
    name === 'printenv' ||
    (name === 'set' && rest.length === 0) ||
    (/^(declare|typeset|export|readonly)$/.test(name ?? '') && (options || rest.length === 0));
  if (!isPrinted) return [];
  return names.length === 0 ? [anyVariable] : names.map((each) => each ?? anyVariable);
}

/** `${!name}`, which takes a value for the name of a variable. */
export function isIndirect(segment: Segment & { kind: 'parameter' }): boolean {
  return segment.prefix === '!' && !isNameList(segment);
}

/** `${!name@}` and `${!name[@]}`: names and subscripts. */
function isNameList({ prefix, operator = [] }: Segment & { kind: 'parameter' }): boolean {
  const [first] = operator;
  return prefix === '!' && first?.kind === 'text' && /^(\*|@(?![A-Za-z])|\[[@*]\])/.test(first.text);
}

/** Their text was parsed separately, so offsets within it are meaningless. */
function* inBackticks(body: List, holes: readonly number[], at: number, holds: Holds): Generator<Source> {
  for (const hole of holes) yield { kind: 'hole', at: hole };
  for (const source of inList(body, holds)) if (source.kind === 'variable') yield { ...source, at };
}

/** Yields the values in words. */
export function* inWords(words: readonly Word[], holds: Holds): Generator<Source> {
  for (const word of words) yield* inSegments(word.segments, holds);
}

function* inRedirects(redirects: readonly Redirect[], holds: Holds): Generator<Source> {
  for (const { operator, word, body } of redirects) {
    yield* inSegments(word.segments, holds);
    if (operator === '<' || operator === '<>') yield* inFile(word, holds);
    if (body !== undefined) yield* inSegments(body.segments, holds);
  }
}

/** Yields what arrives on standard input: here-documents, here-strings and files. */
export function* inInput(redirects: readonly Redirect[], holds: Holds): Generator<Source> {
  yield* inRedirects(
    redirects.filter(({ operator }) => operator.startsWith('<')),
    holds,
  );
}

/** Yields the values in a command: its words, its redirects, and the commands in it. */
export function* inCommand(command: Command, holds: Holds): Generator<Source> {
  yield* inRedirects(command.redirects, holds);
  yield* inWords(command.words, holds);
  if (command.kind === 'simple') {
    yield* inWords(command.assignments, holds);
    if (printsFiles.test(nameOf(command)) || copiesFiles.test(nameOf(command)))
      for (const word of command.words.slice(1)) yield* inFile(word, holds);
    if (command.code !== undefined) yield* inBackticks(command.code, [], command.at, holds);
    for (const code of command.inputCode ?? []) yield* inBackticks(code, [], command.at, holds);
    for (const name of [...printedBy(command), outputPlace(nameOf(command))])
      if (holds(name)) yield { kind: 'variable', name, at: command.at };
    return;
  }
  yield* inWords(command.patterns, holds);
  yield* inSegments(command.arithmetic, holds);
  for (const list of command.lists) yield* inList(list, holds);
}

/**
 * What is in each list, whether it holds a value or not. Kept, because each command around a list asks for it: a script
 * of lists inside one another would be read once for each of them.
 */
const inLists = new WeakMap<List, readonly Source[]>();
const every = () => true;

/** Yields the values in all commands of a list. */
export function* inList(list: List, holds: Holds): Generator<Source> {
  for (const source of allIn(list)) if (source.kind === 'hole' || holds(source.name)) yield source;
}

function allIn(list: List): readonly Source[] {
  const known = inLists.get(list);
  if (known !== undefined) return known;
  const found: Source[] = [];
  for (const { commands } of list.pipelines)
    for (const command of commands) for (const source of inCommand(command, every)) found.push(source);
  inLists.set(list, found);
  return found;
}

/** Yields every command in a list at any depth, including those in substitutions. */
export function* commandsIn(list: List): Generator<Command> {
  for (const { commands } of list.pipelines) {
    for (const command of commands) {
      yield command;
      for (const inner of listsIn(command)) yield* commandsIn(inner);
    }
  }
}

/** Yields each `${name=…}` and `${name:=…}` of a command, which sets that variable. */
export function* defaultsIn(command: Command): Generator<{ name: string; operator: Segment[] }> {
  const words =
    command.kind === 'simple'
      ? [...command.assignments, ...command.words]
      : [...command.words, ...command.patterns];
  for (const { segments } of words) yield* defaultsInSegments(segments);
  for (const { word, body } of command.redirects)
    yield* defaultsInSegments([...word.segments, ...(body?.segments ?? [])]);
  if (command.kind === 'compound') yield* defaultsInSegments(command.arithmetic);
}

function* defaultsInSegments(segments: readonly Segment[]): Generator<{ name: string; operator: Segment[] }> {
  for (const segment of segments) {
    if (segment.kind === 'parameter') {
      const { name, operator = [] } = segment;
      const [first] = operator;
      if (first?.kind === 'text' && /^:?=/.test(first.text)) yield { name, operator };
      yield* defaultsInSegments(operator);
    } else if (segment.kind === 'arithmetic' || segment.kind === 'group')
      yield* defaultsInSegments(segment.inner);
    else if (segment.kind === 'array')
      for (const word of segment.words) yield* defaultsInSegments(word.segments);
  }
}

/** Yields the lists directly inside a command: its body, and substitutions in its words. */
export function* listsIn(command: Command): Generator<List> {
  const words =
    command.kind === 'simple'
      ? [...command.assignments, ...command.words]
      : [...command.words, ...command.patterns];
  for (const word of words) yield* listsInSegments(word.segments);
  for (const { word, body } of command.redirects) {
    yield* listsInSegments(word.segments);
    if (body !== undefined) yield* listsInSegments(body.segments);
  }
  if (command.kind === 'simple') {
    if (command.code !== undefined) yield command.code;
    yield* command.inputCode ?? [];
    return;
  }
  yield* listsInSegments(command.arithmetic);
  yield* command.lists;
}

function* listsInSegments(segments: readonly Segment[]): Generator<List> {
  for (const segment of segments) {
    if (segment.kind === 'command') yield segment.body;
    else if (segment.kind === 'parameter') yield* listsInSegments(segment.operator ?? []);
    else if (segment.kind === 'arithmetic' || segment.kind === 'group') yield* listsInSegments(segment.inner);
    else if (segment.kind === 'array')
      for (const word of segment.words) yield* listsInSegments(word.segments);
  }
}
