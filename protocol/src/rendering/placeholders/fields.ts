// Which texts of a step's configuration may contain placeholders, and how they are treated.
import { stepConfigSchema } from '../../steps/registry.ts';
import { baseName } from '../sh/commands/interpreters.ts';

export type ShellLanguage = 'sh' | 'bash' | 'powershell' | 'pwsh' | 'cmd';

export interface TextField {
  /** Keys that lead from the configuration to the text. */
  keys: string[];
  text: string;
  /** `shell`: placeholders become references. `text`: they become the value. `none`: not allowed. */
  kind: 'shell' | 'text' | 'none';
  /** For `shell`, and for an interpreter's program if the interpreter is a shell that we can parse. */
  language?: ShellLanguage;
  /** For `none`: where its values may be put instead. */
  instead?: string;
  /** For a command that is not read by one of the step's own shells. */
  interpreter?: string;
  /** For `text`: accepts arrays and objects, as JSON. */
  takesJson?: boolean;
  /** For `text`: what the value must look like. */
  rule?: 'path' | 'windows_path' | 'agent_path' | 'target_path' | 'windows_target_path';
  /** For `text`: `*` and `?` in it select files. */
  isPattern?: boolean;
}

/** Returns all texts in a configuration, in order. */
export function textFieldsOf(type: string, config: unknown): TextField[] {
  const fields: TextField[] = [];
  const visit = (value: unknown, keys: string[]) => {
    if (typeof value === 'string') fields.push({ keys, text: value, ...roleOf(type, keys, config) });
    else if (typeof value === 'object' && value !== null) {
      for (const [key, inner] of Object.entries(value)) visit(inner, [...keys, key]);
    }
  };
  visit(config, []);
  return fields;
}

function roleOf(type: string, keys: readonly string[], config: unknown): Omit<TextField, 'keys' | 'text'> {
  const [first, second] = keys;
  if (stepConfigSchema(type) === undefined) return { kind: 'none' };
  const { interpreter } = Object(config) as { interpreter?: unknown };
  const isPattern = first === patternField(type, config);
  if (keys.length === 1 && first === 'local_path') return { kind: 'text', rule: 'agent_path', isPattern };
  if (keys.length === 1 && first === 'remote_path') {
    const rule = type === 'winrm.copy' ? 'windows_target_path' : 'target_path';
    return { kind: 'text', rule, isPattern };
  }
  if (keys.length === 1 && first === 'command' && typeof interpreter === 'string') {
    return {
      kind: 'none',
      instead: `Let ${interpreter} read the value from its environment or from stdin.`,
      interpreter,
      ...(posixShells.has(baseName(interpreter)) ? { language: 'sh' } : {}),
    };
  }
  if (keys.length === 1 && first === 'stdin') return { kind: 'text', takesJson: true };
  if (keys.length === 1 && first === 'file') return { kind: 'text' };
  if (keys.length === 1 && first === 'command') return { kind: 'shell', language: languageOf(type, config) };
  if (keys.length === 1 && first === 'working_directory') {
    return { kind: 'text', rule: type === 'winrm.exec' ? 'windows_path' : 'path' };
  }
  if (keys.length === 2 && first === 'environment' && second !== undefined) {
    return { kind: 'text', takesJson: true };
  }
  return { kind: 'none' };
}

/** Returns the field whose last part may be a pattern. */
function patternField(type: string, config: unknown): 'local_path' | 'remote_path' | undefined {
  if (type === 'sftp.upload') return 'local_path';
  if (type === 'sftp.download') return 'remote_path';
  if (type !== 'winrm.copy') return undefined;
  const { direction } = Object(config) as { direction?: unknown };
  return direction === 'pull' ? 'remote_path' : 'local_path';
}

/** Shells whose scripts are parsed like those of sh, even if a step names them as its interpreter. */
const posixShells: ReadonlySet<string> = new Set(
  'sh bash dash ash ksh mksh zsh yash rbash hush posh'.split(' '),
);

function languageOf(type: string, config: unknown): ShellLanguage {
  const { shell } = Object(config) as { shell?: unknown };
  if (type === 'winrm.exec') return shell === 'cmd' || shell === 'pwsh' ? shell : 'powershell';
  return shell === 'bash' ? 'bash' : 'sh';
}

/** Lists the fields of a step type that may contain placeholders, for a person. */
export function placeholderFields(type: string): string {
  const { properties = {} } = Object(stepConfigSchema(type)) as { properties?: object };
  const inText = ['command', 'stdin', 'working_directory', 'local_path', 'file', 'remote_path'];
  const fields = inText.filter((name) => Object.hasOwn(properties, name));
  if (Object.hasOwn(properties, 'environment')) fields.push('the values of environment');
  const last = fields.pop();
  return fields.length === 0 ? `${last}` : `${fields.join(', ')} and ${last}`;
}

/** Returns a path such as `config.environment.NAME`, relative to the path of the step. */
export function fieldPath(stepPath: string, keys: readonly string[]): string {
  const inner = keys.map((key) =>
    /^\d+$/.test(key) ? `[${key}]` : /^[\w-]+$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`,
  );
  return `${stepPath === '' ? '' : `${stepPath}.`}config${inner.join('')}`;
}
