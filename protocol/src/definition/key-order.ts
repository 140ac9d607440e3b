// The order in which people read a definition's keys: in what is exported, and in what the console writes. Keys that are
// not named follow.

export const definitionKeys = [
  'name',
  'description',
  'category',
  'labels',
  'template',
  'parameters',
  'rules',
  'start_within',
  'timeout',
  'priority',
  'strategy',
  'locks',
  'connection',
  'steps',
] as const;
export const stepKeys = [
  'name',
  'id',
  'type',
  'when',
  'when_status',
  'on_unknown',
  'hold_for',
  'idempotent',
  'retry',
  'connection',
  'config',
  'outputs',
] as const;
export const parameterKeys = [
  'type',
  'title',
  'description',
  'secret',
  'required',
  'enum',
  'pattern',
  'format',
  'default',
  'order',
] as const;
export const configKeys = [
  'shell',
  'command',
  'local_path',
  'file',
  'remote_path',
  'artifact',
  'direction',
  'mode',
  'timeout',
  'working_directory',
  'environment',
  'expected_exit_codes',
] as const;
