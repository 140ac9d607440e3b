// Decides for each placeholder of a shell script whether its value may stand there, and in what form. A place that no
// rule below allows is refused.

import type { ParameterType } from '../../api/jobs/parameters.ts';
import { concludeAnalysis } from '../sites/conclude-analysis.ts';
import type { Analysis, Hole, Refusal, Site } from '../sites/sites.ts';
import { checkTest } from './check-test.ts';
import { type CodeReader, CodeReaders } from './code-readers.ts';
import { Holders, isExec } from './holders.ts';
import { baseName, type Interpreter, interpreterOf } from './interpreters.ts';
import { readScript } from './read-script.ts';
import { type ReasonName, reasons } from './refusals.ts';
import { refusedArguments } from './refused-arguments.ts';
import { commandBehind, resolveCommand } from './resolve-command.ts';
import {
  commandsIn,
  inCommand,
  inInput,
  inList,
  inSegments,
  inWords,
  isIndirect,
  namesIn,
  namesInSubscripts,
  type Source,
} from './sources.ts';
import { namesThatRun } from './special-names.ts';
import {
  anyVariable,
  bareText,
  type Command,
  type Compound,
  type List,
  literalOf,
  literalStart,
  type Redirect,
  type Script,
  type Segment,
  type Simple,
  type Word,
} from './syntax.ts';
import { WrittenText } from './written-text.ts';

/** For a script that any `sh` may run: what bash alone takes for one command can be several there. */
export function analyzeShell(
  text: string,
  holes: readonly Hole[],
  environment: ReadonlyMap<string, string> = new Map(),
): Analysis {
  return analyze(text, holes, environment, false);
}

/** For a script that bash runs. */
export function analyzeBash(
  text: string,
  holes: readonly Hole[],
  environment: ReadonlyMap<string, string> = new Map(),
): Analysis {
  return analyze(text, holes, environment, true);
}

function analyze(
  text: string,
  holes: readonly Hole[],
  environment: ReadonlyMap<string, string>,
  isBash: boolean,
): Analysis {
  const script = readScript(text, isBash);
  if (script.unreadable !== undefined) return unreadable(script.unreadable, holes);
  return new ShellAnalysis(script, holes, environment, isBash).result();
}

function unreadable({ at, why }: { at: number; why: string }, holes: readonly Hole[]): Analysis {
  // If only its environment has values, a script may use any syntax that its shell understands.
  const refusals = holes.slice(0, 1).map(({ label }) => ({
    at,
    message: `The script can't be read from here on (${why}), so it is unknown where ${label} stands`,
    fix: 'Fix the script; if its shell does understand it, set the value in the environment of the step.',
  }));
  return { sites: new Map(), refusals };
}

interface WordOptions {
  mayBeOption: boolean;
  isPath?: boolean;
  /** The value of an assignment, or another place where the shell doesn't split words. */
  unsplit?: boolean;
  /** `NAME=…` or `NAME[…]=…`, whose brackets are no pattern. */
  isAssignment?: boolean;
}

class ShellAnalysis {
  readonly #script: Script;
  readonly #holes: ReadonlyMap<number, Hole>;
  readonly #holders: Holders;
  readonly #readers: CodeReaders;
  readonly #isBash: boolean;
  readonly #sites = new Map<number, Site>();
  readonly #refusals = new Map<string, Refusal>();
  /** Set while the text of backticks is analyzed, whose own offsets are meaningless. */
  #at: number | undefined;
  #isOutputRefused = false;

  constructor(
    script: Script,
    holes: readonly Hole[],
    environment: ReadonlyMap<string, string>,
    isBash: boolean,
  ) {
    this.#script = script;
    this.#isBash = isBash;
    this.#holes = new Map(holes.map((hole) => [hole.at, hole]));
    const labelAt = (at: number) => {
      const hole = this.#holes.get(at);
      return hole === undefined || isInert(hole.type) ? undefined : hole.label;
    };
    this.#holders = new Holders(script, labelAt, environment);
    this.#readers = new CodeReaders(script.list, this.#holders.functions, this.#holders.aliases);
  }

  result(): Analysis {
    for (const at of this.#script.commented) this.#refuse({ kind: 'hole', at }, 'comment');
    this.#list(this.#script.list);
    return concludeAnalysis({
      holes: this.#holes,
      sites: this.#sites,
      refusals: this.#refusals,
      keyOf: (at) => `hole ${at}`,
      refuse: (at, reason) => this.#refuse({ kind: 'hole', at }, reason),
    });
  }

  #refuse(source: Source, reason: ReasonName): void {
    const { why, fix } = reasons[reason];
    this.#refuseFor(source, why, fix);
  }

  #refuseFor(source: Source, why: string, fix: (label: string) => string): void {
    const at = this.#at !== undefined && source.kind === 'variable' ? this.#at : source.at;
    const key = source.kind === 'hole' ? `hole ${at}` : `variable ${at}`;
    if (this.#refusals.has(key)) return;
    if (source.kind === 'hole') {
      const label = this.#holes.get(at)?.label ?? 'The placeholder';
      this.#refusals.set(key, { at, message: `${label} ${why}`, fix: fix(label) });
      return;
    }
    const label = this.#holders.get(source.name)?.label ?? '';
    this.#refusals.set(key, {
      at,
      message: `${holderText(source.name)} the value of ${label}, ${why}`,
      fix: fix(source.name !== anyVariable && !source.name.startsWith('>') ? `$${source.name}` : '$name'),
    });
  }

  #refuseAll(sources: Iterable<Source>, reason: ReasonName): void {
    for (const source of sources) this.#refuse(source, reason);
  }

  #refuseInterpreter(
    sources: Iterable<Source>,
    name: string,
    { why, fix }: Pick<Interpreter, 'why' | 'fix'>,
    input: boolean,
  ): void {
    for (const source of sources) {
      this.#refuseFor(
        source,
        `${input ? 'goes into the input of' : 'is an argument of'} ${name}, which ${why}`,
        () => fix ?? 'Set it in the environment of the step and read it there by its name.',
      );
    }
  }

  #list(list: List): void {
    for (const { commands } of list.pipelines) {
      const last = commands.findLastIndex((command) => this.#readers.of(command) !== undefined);
      const lastOutput = commands.findLastIndex((command) => this.#readers.ofOutputs(command) !== undefined);
      commands.forEach((command, index) => {
        if (index < last) {
          const reader = this.#readers.of(commands[last] as Command) as CodeReader;
          this.#refuseInterpreter(inCommand(command, this.#holders.holds), reader.name, reader, true);
        }
        if (index <= lastOutput) {
          const reader = this.#readers.ofOutputs(commands[lastOutput] as Command) as CodeReader;
          this.#refuseInterpreter(inCommand(command, this.#holders.holds), reader.name, reader, true);
          if (isExec(command)) this.#refuseOutput(reader);
        }
        this.#command(command);
      });
    }
  }

  /** `exec > >(sh)`: for all that follows. */
  #refuseOutput(reader: CodeReader): void {
    if (this.#isOutputRefused) return;
    this.#isOutputRefused = true;
    this.#refuseInterpreter(inList(this.#script.list, this.#holders.holds), reader.name, reader, true);
  }

  /** `exec <<END`: any command may read it. `exec 3<<END`: those with `<&3`. */
  #refuseOpened({ redirects }: Command): void {
    const isInput = redirects.some(
      ({ operator, descriptor }) => operator.startsWith('<') && /^0?$/.test(descriptor),
    );
    const input = [...inInput(redirects, this.#holders.holds)];
    for (const command of commandsIn(this.#script.list)) {
      if (!isInput && !command.redirects.some(({ operator }) => operator === '<&')) continue;
      const reader = this.#readers.of(command);
      if (reader !== undefined) this.#refuseInterpreter(input, reader.name, reader, true);
    }
  }

  #command(command: Command): void {
    const { holds } = this.#holders;
    const input = [...inInput(command.redirects, holds)];
    if (input.length > 0) {
      const reader = this.#readers.of(command);
      if (reader !== undefined) this.#refuseInterpreter(input, reader.name, reader, true);
      if (isExec(command)) this.#refuseOpened(command);
    }
    if (command.kind === 'simple') this.#simple(command);
    else this.#compound(command);
    for (const redirect of command.redirects) this.#redirect(redirect);
  }

  #simple(command: Simple): void {
    const { holds } = this.#holders;
    if (command.words.length > 0) {
      for (const word of command.assignments) {
        for (const source of inSegments(word.segments, holds)) {
          if (source.kind === 'hole') this.#refuse(source, 'prefix');
        }
        this.#assignment(word);
      }
    } else for (const word of command.assignments) this.#assignment(word);
    const { words } = command;
    if (words.length === 0) return;
    const resolved = resolveCommand(words);
    if (resolved.obstacle !== undefined) {
      const { why, wrapper } = resolved.obstacle;
      const said =
        why === 'shell'
          ? { why: 'hands it to a shell with this option', fix: `Use ${wrapper} with the command itself.` }
          : {
              why: `has an option here that OpsConductor does not know, so that it can't be told which command it runs`,
              fix: `Set the value in the environment of the step and hand it on by its name, or leave the option out.`,
            };
      this.#refuseInterpreter(inWords(words, holds), wrapper, said, false);
    }
    for (const index of resolved.leading) {
      const word = words[index];
      if (word !== undefined) this.#refuseAll(inSegments(word.segments, holds), 'command');
    }
    const before = words.slice(0, resolved.index).filter((_, index) => !resolved.leading.includes(index));
    for (const word of before) this.#argument(word, false);
    // What an alias stands for is not followed.
    const isAlias = resolved.leading.some((index) =>
      this.#holders.aliases.has(literalOf(words[index]) ?? ''),
    );
    this.#arguments(isAlias ? undefined : resolved.name, words.slice(resolved.index + 1));
    const behind = commandBehind(words, resolved);
    const called = resolveCommand(behind);
    if (called.name !== undefined) this.#expressions(called.name, behind.slice(called.index + 1));
    for (const index of resolved.leading) {
      const word = words[index];
      if (word !== undefined) this.#word(word, { mayBeOption: false, unsplit: true });
    }
    if (command.code !== undefined) this.#listWithin(command.code, command.at);
  }

  #arguments(name: string | undefined, words: readonly Word[]): void {
    const { holds } = this.#holders;
    if (name === undefined) {
      this.#refuseAll(inWords(words, holds), 'unknown_command');
    } else if (!this.#holders.functions.has(name)) {
      const interpreter = interpreterOf(name);
      if (interpreter?.arguments === 'test') {
        for (const [source, reason] of checkTest(words, holds, (at) => this.#isNumber(at), 'command')) {
          this.#refuse(source, reason);
        }
      } else if (interpreter !== undefined) {
        const refused = refusedArguments(interpreter, words, (word) => this.#isNumeric(word));
        for (const word of refused) {
          this.#refuseInterpreter(inSegments(word.segments, holds), name, interpreter, false);
        }
      } else this.#programBehind(name, words);
    }
    if (name !== undefined) this.#expressions(name, words);
    let optionsEnded = false;
    words.forEach((word, index) => {
      if (runsOption(name, word, words[index - 1])) {
        this.#refuseAll(inSegments(word.segments, holds), 'option_that_runs');
      }
      const isFree = name === 'printf' && index > 0;
      this.#argument(word, !optionsEnded && !isFree);
      if (literalStart(word) === '--' && word.segments.length === 1) optionsEnded = true;
    });
  }

  /** Names of variables in arguments that a builtin evaluates: `let n=count`, `unset 'list[count]'`. */
  #expressions(name: string, words: readonly Word[]): void {
    if (!takesExpressions.test(name)) return;
    const { holds } = this.#holders;
    const isNumber =
      name === 'let' ||
      (isDeclaration.test(name) && words.some((word) => /^-[A-Za-z]*i/.test(literalStart(word))));
    for (const { segments } of words)
      this.#refuseAll((isNumber ? namesIn : namesInSubscripts)(segments, holds), 'arithmetic');
  }

  /** `systemd-inhibit sh -c "…"`: whatever the command is, it can only be meant for that shell. */
  #programBehind(name: string, words: readonly Word[]): void {
    if (name === 'echo') return;
    const at = words.findIndex((word, index) => {
      const interpreter = interpreterOf(literalOf(word) ?? '');
      return interpreter?.arguments === 'script' && /^-[a-z]*[ce]$/.test(literalOf(words[index + 1]) ?? '');
    });
    if (at < 0) return;
    const called = literalOf(words[at]) as string;
    const found = interpreterOf(called) as Interpreter;
    const sources = inWords(words.slice(at + 1), this.#holders.holds);
    this.#refuseInterpreter(sources, called, found, false);
  }

  /** `NAME=value` among arguments sets a variable for `env`, `sudo` and `export`, and is harmless elsewhere. */
  #argument(word: Word, mayBeOption: boolean): void {
    const name = /^([A-Za-z_]\w*)=/.exec(literalStart(word))?.[1];
    if (name !== undefined && namesThatRun.has(name)) {
      this.#refuseAll(inSegments(word.segments, this.#holders.holds), 'special_name');
    }
    this.#word(word, { mayBeOption });
  }

  #assignment(word: Word): void {
    const name = /^[A-Za-z_]\w*/.exec(literalStart(word))?.[0] ?? '';
    const sources = () => this.#strings(inSegments(word.segments, this.#holders.holds));
    if (namesThatRun.has(name)) this.#refuseAll(sources(), 'special_name');
    if (this.#holders.expressions.has(name)) {
      this.#refuseAll(sources(), 'expression_name');
      this.#refuseAll(namesIn(word.segments, this.#holders.holds), 'arithmetic');
    }
    // A variable set this way may become an argument.
    this.#word(word, { mayBeOption: true, unsplit: true, isAssignment: true });
  }

  #strings(sources: Iterable<Source>): Source[] {
    return [...sources].filter((source) => source.kind === 'variable' || !this.#isNumber(source.at));
  }

  #redirect({ operator, word, body }: Redirect): void {
    const { holds } = this.#holders;
    if (operator === '<<' || operator === '<<-') {
      this.#refuseAll(inSegments(word.segments, holds), 'delimiter');
      for (const segment of body?.segments ?? []) {
        if (segment.kind === 'hole' && body?.quoted === true) this.#refuse(segment, 'quoted_heredoc');
        else if (segment.kind === 'hole')
          this.#accept(segment, { as: 'document', mayBeOption: false, isPath: false });
        else this.#segment(segment, { mayBeOption: false, unsplit: true });
      }
      return;
    }
    if (/^(>&|<&|&>)/.test(operator) && operator !== '&>' && operator !== '&>>') {
      this.#refuseAll(inSegments(word.segments, holds), 'descriptor');
    }
    this.#word(word, { mayBeOption: false, isPath: operator !== '<<<', unsplit: operator === '<<<' });
  }

  #compound(command: Compound): void {
    const { holds } = this.#holders;
    this.#arithmetic(command.arithmetic);
    for (const pattern of command.patterns) {
      for (const source of inSegments(pattern.segments, holds)) {
        if (source.kind === 'hole') this.#refuse(source, 'pattern');
      }
      this.#word(pattern, { mayBeOption: false, unsplit: true });
    }
    if (command.what === 'test') {
      for (const [source, reason] of checkTest(command.words, holds, (at) => this.#isNumber(at), 'keyword')) {
        this.#refuse(source, reason);
      }
      if (!this.#isBash) this.#partsOfTest(command.words);
    }
    const isLoop = command.what === 'for';
    for (const word of command.words) this.#word(word, { mayBeOption: isLoop, unsplit: !isLoop });
    for (const list of command.lists) this.#list(list);
  }

  /** A shell without `[[` runs what follows `||` and `&&` as commands. */
  #partsOfTest(words: readonly Word[]): void {
    const operators = [...words.keys()].filter((at) => /^(&&|\|\|)$/.test(bareText(words[at]) ?? ''));
    for (const [index, operator] of operators.entries()) {
      const part = words.slice(operator + 1, operators[index + 1]);
      const [head, ...rest] = part.slice(part.findIndex((word) => !/^[!(]$/.test(bareText(word) ?? '')));
      if (head === undefined) continue;
      this.#refuseAll(inSegments(head.segments, this.#holders.holds), 'part_of_test');
      if (
        interpreterOf(literalOf(head) ?? '') !== undefined ||
        head.segments.some(({ kind }) => kind !== 'text')
      )
        this.#refuseAll(inWords(rest, this.#holders.holds), 'part_of_test');
    }
  }

  #word(word: Word, options: WordOptions): void {
    // `exec {fds[i]}>file`
    if (/^\{[A-Za-z_]\w*\[/.test(literalStart(word)))
      this.#refuseAll(namesInSubscripts(word.segments, this.#holders.holds), 'subscript');
    const written = new WrittenText();
    let isLiteral = true;
    const isPattern = word.segments.some(
      (segment) =>
        (segment.kind === 'group' && !(options.isAssignment === true && segment.what === 'subscript')) ||
        (segment.kind === 'text' && segment.quoting === 'bare' && /[*?[\]{}]/.test(segment.text)),
    );
    for (const segment of word.segments) {
      if (segment.kind === 'hole') {
        if (written.isBehindTilde) this.#refuse(segment, 'tilde');
        else if (written.endsWithDollar) this.#refuse(segment, 'dollar');
        else if (segment.quoting === 'bare' && isPattern) this.#refuse(segment, 'glob');
        else if (options.mayBeOption && isLiteral && written.beginsOption && !this.#isNumber(segment.at)) {
          this.#refuse(segment, 'option_name');
        } else {
          // No literal text is certain to precede it in its word, or in the value of its assignment.
          const isFirst = written.isEmpty || (options.unsplit === true && written.isNameAndEquals);
          this.#hole(segment, { ...options, mayBeOption: options.mayBeOption && isFirst });
        }
      } else this.#segment(segment, options);
      if (segment.kind === 'text') written.add(segment.text);
      else isLiteral = false;
    }
  }

  #hole(hole: Segment & { kind: 'hole' }, { mayBeOption, isPath = false }: WordOptions): void {
    const { quoting } = hole;
    if (quoting === 'bare' || quoting === 'double') {
      this.#accept(hole, { as: quoting === 'bare' ? 'word' : 'quoted', mayBeOption, isPath });
    } else if (quoting === 'single' || quoting === 'ansi' || quoting === 'escaped')
      this.#refuse(hole, quoting);
    else this.#refuse(hole, 'elsewhere');
  }

  #accept(hole: { at: number }, site: Site): void {
    this.#sites.set(hole.at, site);
  }

  /** Any part of a word other than a placeholder. */
  #segment(segment: Segment, options: WordOptions): void {
    if (segment.kind === 'parameter') this.#parameter(segment, options);
    else if (segment.kind === 'command') this.#substitution(segment);
    else if (segment.kind === 'arithmetic') this.#arithmetic(segment.inner);
    else if (segment.kind === 'array') {
      for (const { segments } of segment.words)
        this.#refuseAll(namesInSubscripts(segments, this.#holders.holds), 'subscript');
      for (const word of segment.words) this.#word(word, { ...options, mayBeOption: true, unsplit: false });
    } else if (segment.kind === 'group') {
      const reason = segment.what === 'extglob' ? 'glob' : segment.what;
      this.#refuseAll(inSegments(segment.inner, this.#holders.holds), reason);
      if (segment.what !== 'extglob') this.#refuseAll(namesIn(segment.inner, this.#holders.holds), reason);
      for (const inner of segment.inner) {
        if (inner.kind !== 'hole') this.#segment(inner, { ...options, unsplit: true });
      }
    }
  }

  #parameter(segment: Segment & { kind: 'parameter' }, { unsplit }: WordOptions): void {
    const { holds } = this.#holders;
    const { name, operator = [], prefix, quoting, at } = segment;
    for (const source of inSegments(operator, holds)) {
      if (source.kind === 'hole') this.#refuse(source, 'brace');
    }
    const [first] = operator;
    const text = first?.kind === 'text' ? first.text : '';
    if (/^(\[|:(?![-=+?])|@)/.test(text) || text === '')
      this.#refuseAll(inSegments(operator, holds), 'operator');
    if (/^(\[|:(?![-=+?]))/.test(text)) this.#refuseAll(namesIn(operator, this.#holders.holds), 'operator');
    for (const inner of operator)
      if (inner.kind !== 'hole') this.#segment(inner, { mayBeOption: false, unsplit: true });
    const holder = this.#holders.get(name);
    if (isIndirect(segment) && holder === undefined && quoting === 'bare' && unsplit !== true)
      this.#refuseAll(inSegments([segment], holds), 'unquoted');
    if (holder === undefined) return;
    const variable: Source = { kind: 'variable', name, at };
    if (isIndirect(segment)) this.#refuse(variable, 'indirect');
    else if (/^@[A-Za-z]/.test(text)) this.#refuse(variable, 'operator');
    else if (
      quoting === 'bare' &&
      unsplit !== true &&
      !holder.fromEnvironment &&
      prefix === undefined &&
      // A folder that exists.
      !/^(OLD)?PWD$/.test(name)
    ) {
      this.#refuse(variable, 'unquoted');
    }
  }

  #substitution(segment: Segment & { kind: 'command' }): void {
    if (segment.holes === undefined) {
      this.#list(segment.body);
      return;
    }
    for (const at of segment.holes) this.#refuse({ kind: 'hole', at }, 'backtick');
    this.#listWithin(segment.body, segment.at);
  }

  /** Commands of a text that was parsed separately. */
  #listWithin(list: List, at: number): void {
    const outer = this.#at;
    this.#at ??= at;
    this.#list(list);
    this.#at = outer;
  }

  #arithmetic(segments: readonly Segment[]): void {
    segments.forEach((segment, index) => {
      if (segment.kind === 'hole') {
        const touches = (neighbor: Segment | undefined, pattern: RegExp) =>
          neighbor !== undefined && (neighbor.kind !== 'text' || pattern.test(neighbor.text));
        if (!this.#isNumber(segment.at)) this.#refuse(segment, 'arithmetic');
        else if (
          touches(segments[index - 1], /[\w$#@.[\\]$/) ||
          touches(segments[index + 1], /^[\w$#@.[\\(]/)
        ) {
          this.#refuse(segment, 'arithmetic_neighbor');
        } else this.#accept(segment, { as: 'number', mayBeOption: false, isPath: false });
        return;
      }
      if (segment.kind === 'text') this.#refuseAll(namesIn([segment], this.#holders.holds), 'arithmetic');
      else this.#refuseVariables(segment);
      this.#segment(segment, { mayBeOption: false, unsplit: true });
    });
  }

  #refuseVariables(segment: Segment): void {
    for (const source of inSegments([segment], this.#holders.holds)) {
      if (source.kind === 'variable') this.#refuse(source, 'arithmetic');
      else if (!this.#isNumber(source.at)) this.#refuse(source, 'arithmetic');
    }
  }

  #isNumber(at: number): boolean {
    const type = this.#holes.get(at)?.type;
    return type === 'integer' || type === 'number';
  }

  #isNumeric(word: Word): boolean {
    return this.#strings(inSegments(word.segments, this.#holders.holds)).length === 0;
  }
}

const optionsThatRun =
  /^--(to-command|checkpoint-action|(use-)?compress-program|info-script|new-volume-script|rsh-command|exec|exec-path|upload-pack|receive-pack|command|pager|editor|init-file|rcfile|config-env|post(rotate)?-?script)(=|$)/;
/** Programs whose short options, or options with another meaning elsewhere, name a command. */
const ownOptionsThatRun: ReadonlyMap<string, RegExp> = new Map([
  ['git', /^(-c|-u|-x|--config|--template|--\w+-filter|foreach)(=|$)/],
  ['nc', /^-[ce]$/],
  ['netcat', /^-[ce]$/],
  ['ncat', /^(-[ce]|--(sh|lua)-exec)(=|$)/],
  ['split', /^--filter(=|$)/],
  ['tar', /^(-I|-F)$/],
]);

/** Whether the word is the value of such an option: after its `=`, or the following word. */
function runsOption(name: string | undefined, word: Word, before: Word | undefined): boolean {
  const own = ownOptionsThatRun.get(name === undefined ? '' : baseName(name));
  return [literalStart(word), literalOf(before) ?? ''].some((text, index) => {
    const isOption = optionsThatRun.test(text) || own?.test(text) === true;
    // If the previous option has an `=`, its value is in the same word.
    return isOption && (index === 0 || !text.includes('='));
  });
}

const isDeclaration = /^(declare|typeset|local|readonly|export|integer)$/;
const takesExpressions =
  /^(let|read|mapfile|readarray|unset|printf|wait|declare|typeset|local|readonly|export|integer)$/;

function holderText(name: string): string {
  if (name === anyVariable) return 'A variable whose name is only known when the script runs, which may hold';
  return name.startsWith('>') ? `The file ${name.slice(1)}, which holds` : `$${name}, which holds`;
}

function isInert(type: ParameterType): boolean {
  return type === 'integer' || type === 'number' || type === 'boolean';
}
