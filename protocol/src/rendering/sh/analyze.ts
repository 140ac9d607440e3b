// Decides for each placeholder of a shell script whether its value may stand there, and in what form. A place that no
// rule below allows is refused.

import type { Analysis, Hole } from '../sites/sites.ts';
import { checkTest } from './check-test.ts';
import { type CodeReader, CodeReaders } from './commands/code-readers.ts';
import { launchedBy } from './commands/commands-behind.ts';
import { type Interpreter, interpreterOf } from './commands/interpreters.ts';
import { runsOption } from './commands/options-that-run.ts';
import { refusedArguments } from './commands/refused-arguments.ts';
import { commandBehind, type Resolved, resolveCommand } from './commands/resolve-command.ts';
import { namesThatRun } from './commands/special-names.ts';
import { variablesSet } from './commands/variables-set.ts';
import { Holders, isExec } from './holders.ts';
import { readScript } from './reading/read-script.ts';
import {
  bareText,
  type Command,
  type Compound,
  type List,
  literalOf,
  literalStart,
  type Redirect,
  type Script,
  type Simple,
  type Word,
} from './reading/syntax.ts';
import { ShellVerdicts } from './shell-verdicts.ts';
import {
  commandsIn,
  inCommand,
  inInput,
  inList,
  inSegments,
  inWords,
  namesIn,
  namesInSubscripts,
  type Source,
} from './sources.ts';
import { WordChecks } from './word-checks.ts';

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

interface OpenedReaders {
  any: CodeReader | undefined;
  named: CodeReader | undefined;
}

class ShellAnalysis {
  readonly #script: Script;
  readonly #verdicts: ShellVerdicts;
  readonly #holders: Holders;
  readonly #readers: CodeReaders;
  readonly #words: WordChecks;
  readonly #isBash: boolean;
  #isOutputRefused = false;
  #openedReaders: OpenedReaders | undefined;

  constructor(
    script: Script,
    holes: readonly Hole[],
    environment: ReadonlyMap<string, string>,
    isBash: boolean,
  ) {
    this.#script = script;
    this.#isBash = isBash;
    this.#verdicts = new ShellVerdicts(holes, (variable) => this.#holders.get(variable)?.label);
    this.#holders = new Holders(script, (at) => this.#verdicts.labelAt(at), environment);
    this.#readers = new CodeReaders(script.list, this.#holders.functions, this.#holders.aliases);
    this.#words = new WordChecks(this.#verdicts, this.#holders, (list) => this.#list(list));
  }

  result(): Analysis {
    for (const at of this.#script.commented) this.#verdicts.refuse({ kind: 'hole', at }, 'comment');
    this.#list(this.#script.list);
    return this.#verdicts.conclude();
  }

  #list(list: List): void {
    for (const { commands } of list.pipelines) {
      const last = commands.findLastIndex((command) => this.#readers.of(command) !== undefined);
      const reader = last < 0 ? undefined : this.#readers.of(commands[last] as Command);
      const lastOutput = commands.findLastIndex((command) => this.#readers.ofOutputs(command) !== undefined);
      const ofOutput = lastOutput < 0 ? undefined : this.#readers.ofOutputs(commands[lastOutput] as Command);
      commands.forEach((command, index) => {
        if (reader !== undefined && index < last) this.#refuseInput(command, reader);
        if (ofOutput !== undefined && index <= lastOutput) {
          this.#refuseInput(command, ofOutput);
          if (isExec(command)) this.#refuseOutput(ofOutput);
        }
        this.#command(command);
      });
    }
  }

  /** Refuses what a command has, since it goes into the input of the reader. */
  #refuseInput(command: Command, reader: CodeReader): void {
    this.#verdicts.refuseInterpreter(inCommand(command, this.#holders.holds), reader.name, reader, true);
  }

  /** `exec > >(sh)`: for all that follows. */
  #refuseOutput(reader: CodeReader): void {
    if (this.#isOutputRefused) return;
    this.#isOutputRefused = true;
    this.#verdicts.refuseInterpreter(
      inList(this.#script.list, this.#holders.holds),
      reader.name,
      reader,
      true,
    );
  }

  /** `exec <<END`: any command may read it. `exec 3<<END`: those with `<&3`. */
  #refuseOpened({ redirects }: Command): void {
    const isInput = redirects.some(
      ({ operator, descriptor }) => operator.startsWith('<') && /^0?$/.test(descriptor),
    );
    const { any, named } = this.#readersOfOpened();
    const reader = isInput ? any : named;
    if (reader !== undefined)
      this.#verdicts.refuseInterpreter(inInput(redirects, this.#holders.holds), reader.name, reader, true);
  }

  /**
   * The first command that would run what `exec` opens as its input, and the first that names where it is opened. Looked
   * for once, since every line may be an `exec`; the first one is enough, since each place is refused once.
   */
  #readersOfOpened(): OpenedReaders {
    if (this.#openedReaders !== undefined) return this.#openedReaders;
    const found: OpenedReaders = { any: undefined, named: undefined };
    for (const command of commandsIn(this.#script.list)) {
      const reader = this.#readers.of(command);
      if (reader === undefined) continue;
      found.any ??= reader;
      const isNamed =
        command.redirects.some(({ operator }) => operator === '<&') ||
        command.words.some((word) => /^\/(dev|proc\/self)\/fd\//.test(literalOf(word) ?? ''));
      if (!isNamed) continue;
      found.named = reader;
      break;
    }
    this.#openedReaders = found;
    return found;
  }

  #command(command: Command): void {
    const { holds } = this.#holders;
    const input = [...inInput(command.redirects, holds)];
    if (input.length > 0) {
      const reader = this.#readers.of(command);
      if (reader !== undefined) this.#verdicts.refuseInterpreter(input, reader.name, reader, true);
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
          if (source.kind === 'hole') this.#verdicts.refuse(source, 'prefix');
        }
        this.#assignment(word);
      }
    } else for (const word of command.assignments) this.#assignment(word);
    const { words } = command;
    if (words.length === 0) return;
    const resolved = resolveCommand(words);
    this.#wrappers(words, resolved);
    for (const [index, word] of words.slice(0, resolved.index).entries())
      if (!resolved.leading.includes(index)) this.#argument(word, false);
    for (const { name, at } of variablesSet(words)) if (name !== undefined) this.#refuseSpecial(name, at);
    // What an alias stands for is not followed.
    const isAlias = resolved.leading.some((index) =>
      this.#holders.aliases.has(literalOf(words[index]) ?? ''),
    );
    // What such a command does with a value tells an author more than that it is launched.
    this.#launched(words);
    this.#arguments(isAlias ? undefined : resolved.name, words.slice(resolved.index + 1));
    const behind = commandBehind(words, resolved);
    const called = resolveCommand(behind);
    if (called.name !== undefined) this.#expressions(called.name, behind.slice(called.index + 1));
    for (const index of resolved.leading) {
      const word = words[index];
      if (word !== undefined) this.#words.word(word, { mayBeOption: false, unsplit: true });
    }
    const { code, inputCode = [] } = command;
    for (const list of code === undefined ? inputCode : [code, ...inputCode])
      this.#verdicts.within(command.at, () => this.#list(list));
  }

  /** What is in front of the command that is run in the end. */
  #wrappers(words: readonly Word[], { obstacle, leading, index: end }: Resolved): void {
    const { holds } = this.#holders;
    if (obstacle !== undefined) {
      const { why, wrapper } = obstacle;
      const said =
        why === 'expands'
          ? { why: 'expands its arguments a second time in mksh', fix: 'Write time first, or /usr/bin/time.' }
          : why === 'shell'
            ? { why: 'hands it to a shell with this option', fix: `Use ${wrapper} with the command itself.` }
            : {
                why: `has an option here that OpsConductor does not know, so that it can't be told which command it runs`,
                fix: `Set the value in the environment of the step and hand it on by its name, or leave the option out.`,
              };
      this.#verdicts.refuseInterpreter(inWords(words, holds), wrapper, said, false);
    }
    for (const index of leading) {
      const word = words[index];
      if (word !== undefined) this.#verdicts.refuseAll(inSegments(word.segments, holds), 'command');
    }
    const before = words.slice(0, end).filter((_, index) => !leading.includes(index));
    const wrapper = literalOf(words[leading.at(-2) ?? 0]);
    before.forEach((word, index) => {
      if (runsOption(wrapper, word, before[index - 1]))
        this.#verdicts.refuseAll(inSegments(word.segments, holds), 'option_that_runs');
    });
  }

  /** `nsenter -t 1 awk …`: the command behind it, wherever it may begin. */
  #launched(words: readonly Word[]): void {
    const launched = launchedBy(words);
    if (launched === undefined)
      this.#verdicts.refuseAll(inWords(words, this.#holders.holds), 'unknown_command');
    for (const command of launched ?? []) {
      const resolved = resolveCommand(command);
      this.#wrappers(command, resolved);
      this.#refusedArguments(resolved.name, command.slice(resolved.index + 1));
    }
  }

  #refusedArguments(name: string | undefined, words: readonly Word[]): void {
    const { holds } = this.#holders;
    if (name === undefined) {
      this.#verdicts.refuseAll(inWords(words, holds), 'unknown_command');
    } else {
      // Even if the script has a function of this name: it may be defined elsewhere, and sudo doesn't know it.
      const interpreter = interpreterOf(name);
      if (interpreter?.arguments === 'test') {
        for (const [source, reason] of checkTest(
          words,
          holds,
          (at) => this.#verdicts.isNumber(at),
          'command',
        )) {
          this.#verdicts.refuse(source, reason);
        }
      } else if (interpreter !== undefined) {
        const refused = refusedArguments(name, interpreter, words, (word) => this.#isNumeric(word));
        for (const word of refused) {
          this.#verdicts.refuseInterpreter(inSegments(word.segments, holds), name, interpreter, false);
        }
      } else if (!this.#holders.functions.has(name)) this.#programBehind(name, words);
    }
    for (const [index, word] of words.entries())
      if (runsOption(name, word, words[index - 1]))
        this.#verdicts.refuseAll(inSegments(word.segments, holds), 'option_that_runs');
  }

  #arguments(name: string | undefined, words: readonly Word[]): void {
    this.#refusedArguments(name, words);
    if (name !== undefined) this.#expressions(name, words);
    let optionsEnded = false;
    words.forEach((word, index) => {
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
      this.#verdicts.refuseAll((isNumber ? namesIn : namesInSubscripts)(segments, holds), 'arithmetic');
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
    this.#verdicts.refuseInterpreter(sources, called, found, false);
  }

  /** `NAME=value` among arguments sets a variable for `env`, `sudo` and `export`, and is harmless elsewhere. */
  #argument(word: Word, mayBeOption: boolean): void {
    const name = /^([A-Za-z_]\w*)=/.exec(literalStart(word))?.[1];
    if (name !== undefined && namesThatRun.has(name)) {
      this.#verdicts.refuseAll(inSegments(word.segments, this.#holders.holds), 'special_name');
    }
    this.#words.word(word, { mayBeOption });
  }

  #assignment(word: Word): void {
    const name = /^[A-Za-z_]\w*/.exec(literalStart(word))?.[0] ?? '';
    const sources = () => this.#strings(inSegments(word.segments, this.#holders.holds));
    if (namesThatRun.has(name)) this.#verdicts.refuseAll(sources(), 'special_name');
    if (this.#holders.expressions.has(name)) {
      this.#verdicts.refuseAll(sources(), 'expression_name');
      this.#verdicts.refuseAll(namesIn(word.segments, this.#holders.holds), 'arithmetic');
    }
    // A variable set this way may become an argument.
    this.#words.word(word, { mayBeOption: true, unsplit: true, isAssignment: true });
  }

  /** A variable that a loop or a command such as `read` has set. */
  #refuseSpecial(name: string, at: number): void {
    if (namesThatRun.has(name) && this.#holders.holds(name))
      this.#verdicts.refuse({ kind: 'variable', name, at }, 'special_name');
  }

  #strings(sources: Iterable<Source>): Source[] {
    return [...sources].filter((source) => source.kind === 'variable' || !this.#verdicts.isNumber(source.at));
  }

  #redirect({ operator, word, body }: Redirect): void {
    const { holds } = this.#holders;
    if (operator === '<<' || operator === '<<-') {
      this.#verdicts.refuseAll(inSegments(word.segments, holds), 'delimiter');
      for (const segment of body?.segments ?? []) {
        if (segment.kind === 'hole' && body?.quoted === true)
          this.#verdicts.refuse(segment, 'quoted_heredoc');
        else if (segment.kind === 'hole')
          this.#verdicts.accept(segment.at, { as: 'document', mayBeOption: false, isPath: false });
        else this.#words.segment(segment, { mayBeOption: false, unsplit: true });
      }
      return;
    }
    if (/^(>&|<&|&>)/.test(operator) && operator !== '&>' && operator !== '&>>') {
      this.#verdicts.refuseAll(inSegments(word.segments, holds), 'descriptor');
    }
    this.#words.word(word, { mayBeOption: false, isPath: operator !== '<<<', unsplit: operator === '<<<' });
  }

  #compound(command: Compound): void {
    const { holds } = this.#holders;
    this.#words.arithmetic(command.arithmetic);
    for (const pattern of command.patterns) {
      for (const source of inSegments(pattern.segments, holds)) {
        if (source.kind === 'hole') this.#verdicts.refuse(source, 'pattern');
      }
      this.#words.word(pattern, { mayBeOption: false, unsplit: true });
    }
    if (command.what === 'test') {
      for (const [source, reason] of checkTest(
        command.words,
        holds,
        (at) => this.#verdicts.isNumber(at),
        'keyword',
      )) {
        this.#verdicts.refuse(source, reason);
      }
      if (!this.#isBash) this.#partsOfTest(command.words);
    }
    const isLoop = command.what === 'for';
    if (isLoop && command.name !== undefined) this.#refuseSpecial(command.name, command.at);
    for (const word of command.words)
      this.#words.word(word, { mayBeOption: isLoop, unsplit: !isLoop, isLooped: isLoop });
    for (const list of command.lists) this.#list(list);
  }

  /** A shell without `[[` runs what follows `||` and `&&` as commands. */
  #partsOfTest(words: readonly Word[]): void {
    const operators = [...words.keys()].filter((at) => /^(&&|\|\|)$/.test(bareText(words[at]) ?? ''));
    for (const [index, operator] of operators.entries()) {
      const part = words.slice(operator + 1, operators[index + 1]);
      const [head, ...rest] = part.slice(part.findIndex((word) => !/^[!(]$/.test(bareText(word) ?? '')));
      if (head === undefined) continue;
      this.#verdicts.refuseAll(inSegments(head.segments, this.#holders.holds), 'part_of_test');
      const { name } = resolveCommand([head, ...rest]);
      if (
        name === undefined ||
        interpreterOf(name) !== undefined ||
        this.#holders.functions.has(name) ||
        this.#holders.aliases.has(name)
      )
        this.#verdicts.refuseAll(inWords(rest, this.#holders.holds), 'part_of_test');
    }
  }

  #isNumeric(word: Word): boolean {
    return this.#strings(inSegments(word.segments, this.#holders.holds)).length === 0;
  }
}

const isDeclaration = /^(declare|typeset|local|readonly|export|integer)$/;
const takesExpressions =
  /^(let|read|mapfile|readarray|unset|printf|wait|declare|typeset|local|readonly|export|integer)$/;
