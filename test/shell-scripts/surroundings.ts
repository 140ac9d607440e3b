// What a command may stand in: other commands, substitutions, here-documents, text for another shell.
import type { Draft } from './draft.ts';

/** Puts a command into what may surround one. */
export function surrounded(draft: Draft, command: string): string {
  if (!draft.chance(0.3)) return command;
  return draft.one(
    () => `if true; then\n${command}\nfi`,
    () => `for i in 1; do ${command}\ndone`,
    () => `{ ${command}\n}`,
    () => `( ${command}\n)`,
    () => `b=$(${command}\n)`,
    () => `echo "$(${command}\n)"`,
    () => `true && ${command}`,
    () => `case x in x) ${command}\n;; esac`,
    () => `h() { ${command}\n}; h`,
    () => `! ${command}`,
    () => (command.includes('<<') ? command : `${command} | cat`),
    () => `true | ${command}`,
    () => inBackground(command),
    () => `cat <(${command}\n)`,
    () => `true # a comment's "quote\n${command}`,
    () => `true \\\n&& ${command}`,
    () => `cat <<E5 && ${command}\ntext $(echo a) it's "\nE5`,
    () => `: "\${nothing:-$(${command}\n)}"`,
    () => `[[ -n $(${command}\n) ]]`,
    () => `r=($(${command}\n))`,
    () => `echo $(( 1 + $(${command}\n) ))`,
    () => `cat <<E5\n$(${command}\n)\nE5`,
    () => `function h { ${command}\n}\nh`,
    () => `time ${command}`,
    () => `until ${command}\ndo break; done`,
    () => `coproc { ${command}\n}`,
    () => `if ${command}\nthen :; elif true; then :; else :; fi`,
    () => `trap '${command.replaceAll("'", "'\\''")}' EXIT`,
    () => `eval '${command.replaceAll("'", "'\\''")}'`,
    () => `sh -c '${command.replaceAll("'", "'\\''")}'`,
    () => `$(true) ${command}`,
    () => `shopt -s extglob; ${command}`,
    () => `set -e; set -u; ${command}`,
    () => `set -x; ${command}`,
    () => `IFS=:; ${command}`,
    () => `alias k='echo '\n${command}`,
  );
}

export function inBackground(command: string): string {
  return command.includes('<<') ? command : `${command} &`;
}
