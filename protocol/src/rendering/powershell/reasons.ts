// Why a placeholder can't stand at its place in a PowerShell script, and how to write it instead.
import type { Reason } from '../sites/verdicts.ts';

export const reasons = {
  single: {
    why: 'stands in single quotes, where PowerShell expands nothing',
    fix: (label) => `Use double quotes: "…${label}…".`,
  },
  comment: {
    why: 'stands in a comment, where it has no effect',
    fix: () => `Take it out of the comment, or write ${'$$'}{{ for the text.`,
  },
  escaped: {
    why: 'stands after a backtick, which would quote the reference to its value',
    fix: () => 'Remove the backtick, or write two of them.',
  },
  verbatim: {
    why: 'stands after --%, where PowerShell expands nothing',
    fix: () => 'Leave --% out, and write each argument in quotes of its own.',
  },
  glued: {
    why: 'touches other text outside of quotes, so that it is unclear how they are read',
    fix: (label) => `Put all of it in double quotes: "…${label}…".`,
  },
  assigned: {
    why: 'stands where something is assigned to it',
    fix: (label) => `Use a variable of your own: $name = ${label}.`,
  },
  command: {
    why: 'decides which command runs',
    fix: (label) =>
      `Name the commands yourself: switch (${label}) { 'start' { … } 'stop' { … } default { exit 2 } }.`,
  },
  printed: {
    why: 'would only be printed: a value is never a command',
    fix: (label) =>
      `Name the commands yourself: switch (${label}) { 'start' { … } default { exit 2 } }. To print it: Write-Output ${label}.`,
  },
  name: { why: 'stands where code is named', fix: () => 'Write the name itself.' },
  special_name: {
    why: 'would set what tells PowerShell, or programs, what to run',
    fix: () => 'Use a name of your own.',
  },
  property: {
    why: 'would become the text of a property that is run, or found by',
    fix: () => 'Write what is to be run itself, and hand the value over as a parameter of it.',
  },
  code_type: {
    why: 'is made code, a query or a type by the type that stands with it',
    fix: () => 'Leave out the type.',
  },
  pattern: {
    why: 'is taken for a pattern',
    fix: (label) =>
      `Write ([regex]::Escape(${label})) for -match, -split and -replace; or use the methods Contains, Split and Replace.`,
  },
  unknown_command: {
    why: 'is an argument of a command that is only known when the script runs',
    fix: () =>
      'Write the name of the command itself; a folder in front of it may be a variable: & "$dir\\program.exe".',
  },
  member: {
    why: 'decides which method or property is used',
    fix: () => 'Write its name itself, and choose among several with switch.',
  },
  type: {
    why: 'stands where a type is named',
    fix: () => 'Write the type itself.',
  },
  variable_to_program: {
    why: 'goes to a program, which may read quotes and % in it by its own rules',
    fix: () =>
      'Write the placeholder itself as the argument: its value is checked for what that program would misread.',
  },
  query: {
    why: 'stands in a filter or a query, which has a language of its own',
    fix: (label) => `Filter behind it: … | Where-Object { $_.Name -eq ${label} }.`,
  },
  structure: {
    why: 'is a list or an object, which a script can’t represent',
    fix: () =>
      'Refer to one of its items, or set it in the environment of the step, where it becomes JSON: $env:NAME | ConvertFrom-Json.',
  },
  elsewhere: {
    why: 'stands where a value is not known to be safe',
    fix: (label) => `Use it as an argument of its own or in double quotes: Command -Name ${label}.`,
  },
} as const satisfies Record<string, Reason>;
export type ReasonName = keyof typeof reasons;
