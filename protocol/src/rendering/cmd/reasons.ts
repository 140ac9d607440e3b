// Why a placeholder can't stand at its place in a batch script, and how to write it instead.
import type { Reason } from '../sites/verdicts.ts';

export const reasons = {
  comment: {
    why: 'stands in a comment, where it has no effect',
    fix: () => `Take it out of the comment, or write ${'$$'}{{ for the text.`,
  },
  escaped: {
    why: 'stands after a caret, which would quote the reference to its value',
    fix: () => 'Remove the caret, or write two of them.',
  },
  percent: {
    why: 'stands between two percent signs, where the name of a variable is',
    fix: () => 'Write %% for a percent sign.',
  },
  command: {
    why: 'decides which command runs',
    fix: (label) =>
      `Name the commands yourself: if "${label}"=="start" ( … ) else if "${label}"=="stop" ( … ).`,
  },
  pipe: {
    why: 'stands on a line with a pipe, each side of which another cmd.exe reads again',
    fix: () =>
      'Write the output to a file and read that: command > "%TEMP%\\x.txt" and then find "…" < "%TEMP%\\x.txt".',
  },
  for: {
    why: 'stands in what for goes over, which it reads again',
    fix: (label) => `Set a variable before it, or call the command without for: if "${label}"=="…".`,
  },
  call: {
    why: 'is an argument of call, which reads the line again',
    fix: () => 'Set a variable, and use it in the part that is called: set "NAME=…".',
  },
  goto: {
    why: 'decides where the script goes on',
    fix: (label) => `Write if "${label}"=="…" goto … for each.`,
  },
  arithmetic: {
    why: 'is not a number and stands in arithmetic',
    fix: () => 'Declare the parameter as an integer.',
  },
  unknown_command: {
    why: 'is an argument of a command that is only known when the script runs',
    fix: () =>
      'Write the name of the command itself; a folder in front of it may be a variable: "%DIR%\\program.exe".',
  },
  set_name: {
    why: 'decides which variable is set',
    fix: (label) => `Use a name of your own: set "NAME=${label}".`,
  },
  defined: {
    why: 'is taken for the name of a variable',
    fix: (label) => `Ask whether it is empty: if "${label}"=="".`,
  },
  condition: {
    why: 'stands unquoted in a condition',
    fix: (label) => `Put both sides in double quotes: if "${label}"=="…".`,
  },
  special_name: {
    why: 'would set a variable that tells programs what to run',
    fix: () => 'Use a name of your own.',
  },
  structure: {
    why: 'is a list or an object, which a script can’t represent',
    fix: () => 'Refer to one of its items, or set it in the environment of the step, where it becomes JSON.',
  },
  elsewhere: {
    why: 'stands where a value is not known to be safe',
    fix: (label) => `Use it as an argument in double quotes: command "${label}".`,
  },
} as const satisfies Record<string, Reason>;
export type ReasonName = keyof typeof reasons;
