// Options whose value is a command: `tar --to-command=…`, `git -c core.pager=…`.

import { literalOf, literalStart, type Word } from '../reading/syntax.ts';
import { baseName } from './interpreters.ts';

const optionsThatRun =
  /^--(to-command|checkpoint-action|(use-)?compress-program|info-script|new-volume-script|rsh-command|exec|exec-path|upload-pack|receive-pack|command|pager|editor|init-file|rcfile|config-env|post(rotate)?-?script)(=|$)/;
/** Programs whose short options, or options with another meaning elsewhere, name a command. */
const ownOptionsThatRun: ReadonlyMap<string, RegExp> = new Map([
  ['git', /^(-c|-u|-x|--config|--template|--\w+-filter|foreach)(=|$)/],
  ['nc', /^-[ce]$/],
  ['netcat', /^-[ce]$/],
  ['ncat', /^(-[ce]|--(sh|lua)-exec)(=|$)/],
  ['split', /^--filter(=|$)/],
  // What it writes goes to a command if the name of the file begins with a bar.
  ['strace', /^-[a-z]*o/],
  ['tar', /^(-I|-F)$/],
]);

/** Whether the word is the value of such an option: after its `=`, or the following word. */
export function runsOption(name: string | undefined, word: Word, before: Word | undefined): boolean {
  const own = ownOptionsThatRun.get(name === undefined ? '' : baseName(name));
  return [literalStart(word), literalOf(before) ?? ''].some((text, index) => {
    const isOption = optionsThatRun.test(text) || own?.test(text) === true;
    // If the previous option has an `=`, its value is in the same word.
    return isOption && (index === 0 || !text.includes('='));
  });
}
