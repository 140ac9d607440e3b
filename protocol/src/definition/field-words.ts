// Descriptions for the published schema, for those fields of a definition whose own schema has none.

type Words = Readonly<Record<string, string>>;

const job: Words = {
  name: 'Name of the job; unique',
  description: 'What it does, shown in lists',
  category:
    'Path of its category, such as `prod/db`; `general` by default. It belongs to the job, not to a version',
  labels: 'Names with values, for finding and selecting jobs. They belong to the job, not to a version',
  template: 'Other jobs are made from it; it can only be run as a trial',
  strategy:
    'In what order targets start, how many at a time, and after how many failures no more start. Without it, all start at once',
  locks: 'Locks that each target run holds from its first lease to its end',
  parameters:
    'Parameters, by name, that the person who runs the job fills in; used in steps as `${{ parameters.name }}`',
  rules: 'Conditions over several parameters',
  connection: 'How targets are reached; takes precedence over settings of targets, groups and segments',
  detect_secrets:
    'Whether private keys and tokens of well-known forms are masked in the output too; by default as the installation is configured',
  steps: 'What is done on each target, step by step',
};
const step: Words = {
  name: 'Name of the step; unique in the job',
  id: 'How other steps refer to it; by default its name, if that is an identifier',
  type: 'What the step does; it determines the fields of `config`',
  when: 'A CEL condition. If it is false on a target, the step is skipped there and later steps continue',
  outputs: 'Values that it hands on to later steps, by name',
  connection: 'For this step only; takes precedence over the job’s',
  on_unknown:
    'What to do if the agent was cut off and the result is unknown: `fail` (the default), `hold` to wait for a decision, or `retry`, which requires `idempotent`',
  idempotent: 'Whether running it twice does no harm',
  hold_for: 'Seconds that a held step waits for a decision before it ends `unknown`; one day by default',
  retry: 'Tries the step again if it failed or timed out and is known to have ended',
  when_status:
    'Runs if all steps before it succeeded (`success`, the default), if one did not (`failure`), or `always`',
};
const retry: Words = {
  attempts: 'Tries in all, the first one included',
  delay: 'Seconds before the second try, varied randomly by up to a fifth',
  backoff: 'Factor by which each further delay is longer than the one before',
  max_delay: 'Longest delay, in seconds',
  on: 'Reasons to try again; by default those that may have gone away a moment later',
};
const strategy: Words = {
  max_failures: 'Target runs that may fail before the run stops; 0 by default',
  batch_max_failures: 'Target runs that may fail in one batch',
};
const lock: Words = { slots: 'How many target runs may share it, this one included; no limit by default' };
const value: Words = {
  type: 'Type of the value; values are never converted',
  title: 'Label in forms',
  description: 'Help text in forms',
  enum: 'Allowed values, each of the parameter’s type',
  minimum: 'Numbers: smallest allowed value',
  maximum: 'Numbers: largest allowed value',
  exclusiveMinimum: 'Numbers: the value must be greater than this',
  exclusiveMaximum: 'Numbers: the value must be less than this',
  multipleOf: 'Numbers: the value must be a multiple of this',
  minLength: 'Strings: shortest length, in characters',
  maxLength: 'Strings: greatest length, in characters',
  pattern:
    'Strings: a regular expression (RE2) that must match somewhere; with `^` and `$` it must match the whole',
  format: 'Strings: a format that is checked',
  minItems: 'Arrays: fewest items',
  maxItems: 'Arrays: most items',
  uniqueItems: 'Arrays: whether all items must be different',
  items: 'Arrays: definition of each item',
  properties: 'Objects: definitions of the properties',
  additionalProperties: 'Objects: whether properties other than those defined are allowed; by default not',
  required: 'Whether a value must be given; by default it must, unless there is a default value',
  default: 'Value if none is given',
  secret: 'Strings: sealed to the segments where the run takes place, masked in output and never shown again',
  order: 'Position in forms; parameters without one follow in the order in which they are written',
  allow_leading_dash:
    'Whether a value that begins with `-` is allowed where a command could take it for an option',
};
const rule: Words = {
  when: 'CEL condition under which the rule applies; by default always',
  check: 'CEL that must be true',
  require: 'Parameters that must be given',
  message: 'Message for the person who runs the job, if the rule is broken',
};
const output: Words = {
  pattern: 'RE2: of the last match, the group named `value`, else the first group, else the whole match',
  json: 'A JSON pointer into standard output, which must be a single JSON value',
  file: 'True: a line `name=value` in the file that the variable OPSCONDUCTOR_OUTPUT names',
  from: 'Where `pattern` looks; by default standard output',
  secret: 'Sealed to the segment, masked in output, never shown',
  default: 'Value if nothing is found; without a default, the step fails',
  description: 'What it is, for people',
  allow_leading_dash:
    'Whether a value that begins with `-` is allowed where a command could take it for an option',
};

/** Identifies each kind of object in a definition by a field that only it has. */
export const fieldWords: readonly { has: string; words: Words }[] = [
  { has: 'steps', words: job },
  { has: 'when_status', words: step },
  { has: 'backoff', words: retry },
  { has: 'max_parallel', words: strategy },
  { has: 'slots', words: lock },
  { has: 'multipleOf', words: value },
  { has: 'require', words: rule },
  { has: 'json', words: output },
];
