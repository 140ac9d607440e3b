// biome-ignore-all lint/suspicious/noTemplateCurlyInString: placeholders are written so
// What each field of a definition means, for the published schema: of those whose own schema does not say it.

type Words = Readonly<Record<string, string>>;

const job: Words = {
  name: 'What the job is called; no other job has the name',
  description: 'What it does, for whoever reads the list',
  category:
    'Path of the category that it lies in, `prod/db`; `general` unless told. It belongs to the job, not to a version',
  labels: 'Names with values, to find and select jobs by. They belong to the job, not to a version',
  template: 'Other jobs are made from it; it is run for trial only',
  strategy:
    'Who of a run starts when, and after how many failures it stops. Without it all targets start at once',
  locks: 'What each target run holds from its first lease to its end',
  parameters: 'What whoever runs it gives, by name; `${{ parameters.name }}` in the steps',
  rules: 'What must hold between parameters',
  connection: 'How targets are reached; stands before what targets, groups and segments give',
  detect_secrets:
    'Masks private keys and tokens of well-known forms in its output, too; as the installation is set unless told',
  steps: 'What is done on each target, one after the other',
};
const step: Words = {
  name: 'What the step is called; no other step of the job has the name',
  id: 'How other steps refer to it; its name serves where that is an identifier',
  type: 'What the step does; `config` goes by it',
  when: 'A condition in CEL: where it is false the step is skipped, and steps after it go on',
  outputs: 'What it hands on to later steps, by name',
  connection: 'For this step alone; stands before the job’s',
  on_unknown:
    'When the agent was cut off and what happened is not known: `fail` (unless told), `hold` to be asked, `retry`, which needs `idempotent`',
  idempotent: 'Running it twice does no harm',
  hold_for: 'Seconds that a held step waits for a decision before it ends `unknown`; a day unless told',
  retry: 'Tries it again when it failed or timed out and is known to have ended',
  when_status:
    'Runs when the steps before it succeeded (`success`, unless told), when one did not (`failure`), or `always`',
};
const retry: Words = {
  attempts: 'Tries in all, the first one included',
  delay: 'Seconds before the second try, a fifth more or less by chance',
  backoff: 'Each further delay is that many times the one before',
  max_delay: 'No delay is longer, in seconds',
  on: 'Reasons to try again on; unless told those that may be different a moment later',
};
const strategy: Words = {
  max_failures: 'Target runs that may fail before the run stops; 0 unless told',
  batch_max_failures: 'Target runs of one batch that may fail',
};
const lock: Words = { slots: 'How many target runs may share it, this one included; no limit unless told' };
const value: Words = {
  type: 'What kind of value it is; nothing is converted',
  title: 'Its name in forms',
  description: 'What it is for, in forms',
  enum: 'One of these values, each of the type',
  minimum: 'Of numbers: this or more',
  maximum: 'Of numbers: this or less',
  exclusiveMinimum: 'Of numbers: more than this',
  exclusiveMaximum: 'Of numbers: less than this',
  multipleOf: 'Of numbers: a whole multiple of this',
  minLength: 'Of strings, in characters',
  maxLength: 'Of strings, in characters',
  pattern: 'Of strings: a regular expression (RE2) that must match somewhere; `^` and `$` make it the whole',
  format: 'Of strings: a form that is checked',
  minItems: 'Of arrays',
  maxItems: 'Of arrays',
  uniqueItems: 'Of arrays: no two items are equal',
  items: 'Of arrays: what each item is',
  properties: 'Of objects: what each property is',
  additionalProperties: 'Of objects: whether properties that are not named may be there; not unless told',
  required: 'Whether it must be given: so unless it has a default, and unless told',
  default: 'Its value where none is given',
  secret: 'Of strings: sealed to the segments that run it, masked in output, never shown again',
  order: 'Its place in forms; those without one come after, as they are written',
  allow_leading_dash: 'A value that begins with `-` may stand where a command could take it for an option',
};
const rule: Words = {
  when: 'CEL: the rule holds where this is true; always unless told',
  check: 'CEL that must be true',
  require: 'Parameters that must be given',
  message: 'What whoever runs the job is told where it does not hold',
};
const output: Words = {
  pattern: 'RE2: the group named `value`, else the first group, else the whole, of the last match',
  json: 'A JSON pointer into standard output, which must be one JSON value',
  file: 'True: a line `name=value` in the file that the variable OPSCONDUCTOR_OUTPUT names',
  from: 'Where `pattern` looks; standard output unless told',
  secret: 'Sealed to the segment, masked in output, never shown',
  default: 'Its value where nothing is found; without one the step fails',
  description: 'What it is, for people',
  allow_leading_dash: 'A value that begins with `-` may stand where a command could take it for an option',
};

/** By the fields that tell one object of a definition from another. */
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
