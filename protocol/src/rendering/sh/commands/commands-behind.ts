// Finds the commands that a launcher runs: `nsenter -t 1 -n ss`, `npm exec tool`. Where an option is not known, the word
// behind it may be its value or the command, and is taken for both.
import { literalOf, literalStart, type Word } from '../reading/syntax.ts';
import { baseName, interpreterOf } from './interpreters.ts';
import { beforeDashes, type Launcher, launchers } from './launchers.ts';
import { optionTakes, programName, resolveCommand } from './resolve-command.ts';

export interface Behind {
  /** Words that decide which command runs, or that may do so. */
  refused: readonly Word[];
  /** Where a command may begin. */
  starts: readonly number[];
}

const nothing: Behind = { refused: [], starts: [] };
/** More launchers behind one another are not followed. */
const maxCommands = 20;

/**
 * Returns the commands that a command launches, also by one another; undefined if they are too many to be followed.
 *
 * @param words The command with its own name.
 */
export function launchedBy(words: readonly Word[]): readonly (readonly Word[])[] | undefined {
  const found = new Map<number, readonly Word[]>();
  const open = [{ from: 0, command: words }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { name, index } = resolveCommand(next.command);
    const launcher = name === undefined ? undefined : launcherOf(name);
    if (launcher === undefined) continue;
    const { starts } = commandsBehind(launcher, next.command.slice(index + 1));
    for (const start of starts) {
      const from = next.from + index + 1 + start;
      if (found.has(from)) continue;
      if (found.size === maxCommands) return undefined;
      const command = words.slice(from);
      found.set(from, command);
      open.push({ from, command });
    }
  }
  return [...found.values()];
}

export function launcherOf(name: string): Launcher | undefined {
  const own = interpreterOf(name);
  if (own?.arguments !== 'program' && own?.arguments !== 'subcommand') return undefined;
  const base = baseName(name);
  return Object.hasOwn(launchers, base) ? launchers[base] : {};
}

/** @param words Those behind the name of the launcher. */
export function commandsBehind(launcher: Launcher, words: readonly Word[]): Behind {
  const refused: Word[] = [];
  const starts: number[] = [];
  const rest = (from: number): Behind => ({ refused: [...refused, ...words.slice(from)], starts });
  let awaitsSubcommand = launcher.subcommands !== undefined;
  let positionals = launcher.positionals ?? 0;
  // Whether the word may be the value of the option in front of it.
  let isDoubtful = false;
  let optionsEnded = false;
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] as Word;
    const literal = literalOf(word);
    const start = literalStart(word);
    const wasDoubtful = isDoubtful;
    isDoubtful = false;
    if (!optionsEnded && start.startsWith('-') && literal !== '-') {
      if (literal === '--') {
        optionsEnded = true;
        if (positionals === beforeDashes) positionals = 0;
        continue;
      }
      if (launcher.idle?.test(start) === true) return nothing;
      const taken = optionTakes(start, literal !== undefined, {
        short: launcher.short ?? '',
        ...(launcher.long === undefined ? {} : { long: launcher.long }),
      });
      if (taken === undefined) {
        refused.push(word);
        isDoubtful = !start.includes('=');
        continue;
      }
      if (launcher.decisive?.test(start) === true) refused.push(...words.slice(at, at + taken + 1));
      at += taken;
      continue;
    }
    const name = programName(word);
    if (name === undefined) {
      const isOther = awaitsSubcommand ? wasDoubtful : positionals > 0 && !wasDoubtful;
      if (!isOther) return rest(at);
      refused.push(word);
      if (!awaitsSubcommand) positionals -= 1;
    } else if (awaitsSubcommand) {
      const { subcommands, prefixes = {} } = launcher;
      if (subcommands?.includes(name) === true) awaitsSubcommand = false;
      else if (Object.hasOwn(prefixes, name)) isDoubtful = prefixes[name] === 1;
      else if (!wasDoubtful) return { refused, starts };
    } else if (starts.length > 0 || launcher.subcommands?.includes(name) !== true) {
      const isPositional = positionals > 0 && !wasDoubtful;
      if (!isPositional || launcher.mayLackPositionals === true) starts.push(at);
      if (isPositional) positionals -= 1;
      else if (!wasDoubtful) return { refused, starts };
    }
  }
  return { refused, starts };
}
