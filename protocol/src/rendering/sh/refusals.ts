// Why a placeholder can't stand at its place, and how to write it instead.
import type { Reason } from '../sites/verdicts.ts';

/** Places in a shell script where no value may stand. */
export const reasons = {
  single: {
    why: 'stands in single quotes, where the shell expands nothing',
    fix: (label) => `Use double quotes: "…${label}…".`,
  },
  ansi: {
    why: "stands in $'…', where the shell expands nothing",
    fix: (label) => `Use double quotes: "…${label}…".`,
  },
  escaped: {
    why: 'stands after a backslash, which would quote the reference to its value',
    fix: (label) => `Remove the backslash, or write two of them: \\\\"${label}".`,
  },
  dollar: {
    why: 'stands after a dollar sign',
    fix: (label) =>
      `Remove the dollar sign; for the text ${'$'}{{ itself write ${'$$'}{{. As a text with a dollar: "\\$${label}".`,
  },
  command: {
    why: 'decides which command runs',
    fix: (label) =>
      `Name the commands yourself: case "${label}" in start) … ;; stop) … ;; *) exit 2 ;; esac.`,
  },
  unknown_command: {
    why: 'is an argument of a command that is only known when the script runs',
    fix: () =>
      'Write the name of the command itself; a folder in front of it may be a variable: "$DIR"/command.',
  },
  part_of_test: {
    why: 'begins a part of [[ … ]] behind || or &&, which a shell without [[ runs as a command',
    fix: (label) => `Write [ "${label}" = … ] || [ … ], or run the step with shell: bash.`,
  },
  prefix: {
    why: 'stands in an assignment in front of a command, which takes effect for that command only and not for its arguments',
    fix: (label) => `Set it in the environment of the step, or in a line of its own: NAME="${label}".`,
  },
  special_name: {
    why: 'would set a variable that tells the shell, or programs, what to run',
    fix: () => 'Use a name of your own.',
  },
  expression_name: {
    why: 'would set a variable that the script declares as a number or a reference, and its text would be evaluated',
    fix: () => 'Remove -i, -n or -A from its declaration, or use another variable.',
  },
  backtick: {
    why: 'stands in backticks, which interpret backslashes and quotes a second time',
    fix: (label) => `Use $(…): $(command "${label}").`,
  },
  brace: {
    why: 'stands inside ${…}, where some shells evaluate it',
    fix: (label) => `Set a variable first: NAME="${label}", and use that.`,
  },
  operator: {
    why: 'stands in an offset, a subscript or a transformation of ${…}, which evaluates it',
    fix: () => 'Use cut, case or a parameter of the type integer.',
  },
  indirect: {
    why: 'is taken for the name of a variable by ${!…}',
    fix: () => 'Use case to choose among variables.',
  },
  quoted_heredoc: {
    why: 'stands in a here-document whose delimiter is quoted, where the shell expands nothing',
    fix: () =>
      'Remove the quotes from the delimiter (and put a backslash before each $ and ` that is meant as it is), or set the value in the environment of the step.',
  },
  delimiter: {
    why: 'stands in the delimiter of a here-document',
    fix: () => 'Use a plain word: <<EOF.',
  },
  pattern: {
    why: 'stands in a pattern of case',
    fix: (label) => `Compare instead: if [ "$x" = "${label}" ]; then ….`,
  },
  arithmetic: {
    why: 'is not a number and stands in arithmetic, where some shells run commands that its text names',
    fix: () => 'Declare the parameter as an integer.',
  },
  arithmetic_neighbor: {
    why: 'touches other text in arithmetic, so that both would be read as one',
    fix: (label) => `Put an operator between them, or parentheses around it: (${label}).`,
  },
  old_arithmetic: { why: 'stands in $[…]', fix: (label) => `Write $(( ${label} )).` },
  subscript: {
    why: 'stands in a subscript, which is evaluated',
    fix: () => 'Use case, or a name of your own for each value.',
  },
  descriptor: {
    why: 'stands after >& or <&, which takes a number for a descriptor',
    fix: (label) => `Write >"${label}" 2>&1.`,
  },
  glob: {
    why: 'stands unquoted in a word with a pattern, so that it is unclear which part is the pattern',
    fix: (label) => `Put the value in quotes and leave the pattern outside: "${label}"*.log.`,
  },
  tilde: {
    why: 'stands after a tilde, which the shell expands before it inserts values',
    fix: () => 'Write the folder itself, or $(getent passwd "…" | cut -d: -f6).',
  },
  option_name: {
    why: 'completes an option, so that the value would choose which',
    fix: (label) =>
      `Write the option whole and the value as a word of its own: -x "${label}", or --name="${label}".`,
  },
  option_that_runs: {
    why: 'is the value of an option that names a command to run',
    fix: () => 'Write that command itself.',
  },
  unquoted: {
    why: 'stands unquoted, so that its spaces split it and its * is expanded',
    fix: () => `Put it in double quotes: "$name".`,
  },
  unquoted_output: {
    why: 'goes into $(…) outside of quotes, so that spaces split what comes of it and * is expanded',
    fix: () => 'Put it in double quotes: "$(…)"; or take one piece after the other: for each in $(…).',
  },
  comment: {
    why: 'stands in a comment, where it has no effect',
    fix: () => `Take it out of the comment, or write ${'$$'}{{ for the text.`,
  },
  function_name: { why: 'stands in the name of a function', fix: () => 'Use a plain name.' },
  adjacent_test: {
    why: 'stands beside another value in a test, so that one of them could be taken for an operator',
    fix: (label) => `Put the operator between them: [ "${label}" = "…" ].`,
  },
  joined_test: {
    why: 'stands in a test that -a, -o or parentheses join, where it could be taken for an operator',
    fix: (label) => `Write two tests: [ "${label}" = a ] && [ … ].`,
  },
  number_test: {
    why: 'is not a number and is compared as one, which evaluates its text in some shells',
    fix: () => 'Declare the parameter as an integer, or compare texts with = and !=.',
  },
  name_test: {
    why: 'is taken for the name of a variable',
    fix: (label) => `Ask whether it is empty: [ -n "${label}" ].`,
  },
  structure: {
    why: 'is a list or an object, which shell text has no form for',
    fix: () => 'Refer to one of its items, or set it in the environment of the step, where it becomes JSON.',
  },
  elsewhere: {
    why: 'stands where a value is not known to be safe',
    fix: (label) => `Use it as a word of its own or in double quotes: command "${label}".`,
  },
} as const satisfies Record<string, Reason>;
export type ReasonName = keyof typeof reasons;
