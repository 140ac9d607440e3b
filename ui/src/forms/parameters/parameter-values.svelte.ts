// Values for a job's parameters while someone fills them in: validated as on the server; secrets are kept only here.
import {
  compileParameters,
  type ErrorDetail,
  type Parameter,
  type ParameterRule,
  type Parameters,
  type ValueDefinition,
} from '@opsconductor/protocol';

export type ValuePath = readonly (string | number)[];

export class ParameterValues {
  parameters: Parameters = $state.raw({});
  rules: readonly ParameterRule[] = $state.raw([]);
  /** The values given, without secrets and without those left to their default. */
  values: Readonly<Record<string, unknown>> = $state.raw({});
  /** Secret values by name, kept only in this tab's memory. */
  secrets: Readonly<Record<string, string>> = $state.raw({});
  #touched: ReadonlySet<string> = $state.raw(new Set());
  /** Whether missing values are reported too: set once the user tries to proceed. */
  showAll = $state(false);

  /** Parameters in the order of the form. */
  readonly fields: readonly (readonly [string, Parameter])[] = $derived(
    Object.entries(this.parameters)
      .map((entry, at) => ({ entry, at }))
      .toSorted((a, b) => (a.entry[1].order ?? 1e6) - (b.entry[1].order ?? 1e6) || a.at - b.at)
      .map(({ entry }) => entry),
  );
  readonly #compiled = $derived(compileParameters(this.parameters, this.rules));
  readonly #check = $derived.by(() => {
    const secrets = Object.entries(this.secrets).filter(([name]) => this.parameters[name]?.secret === true);
    // Check secrets against their definitions here, as the server only sees them sealed.
    return this.#compiled.check({ ...this.values, ...Object.fromEntries(secrets) });
  });
  readonly problems: readonly ErrorDetail[] = $derived(this.#check.problems);
  readonly isRight = $derived(this.problems.length === 0);
  /** Includes defaults and secrets, for a preview that masks the latter. */
  readonly filled: Readonly<Record<string, unknown>> = $derived(this.#check.values);

  constructor(parameters: Parameters = {}, rules: readonly ParameterRule[] = []) {
    this.set(parameters, rules);
  }

  /** Switches to other parameters; values stay if their parameter still exists. */
  set(parameters: Parameters, rules: readonly ParameterRule[]): void {
    this.parameters = parameters;
    this.rules = rules;
    const stays = ([name]: [string, unknown]) => Object.hasOwn(parameters, name);
    if (!Object.entries(this.values).every(stays))
      this.values = Object.fromEntries(Object.entries(this.values).filter(stays));
    const isSecret = ([name]: [string, string]) => parameters[name]?.secret === true;
    if (!Object.entries(this.secrets).every(isSecret))
      this.secrets = Object.fromEntries(Object.entries(this.secrets).filter(isSecret));
  }

  /**
   * Returns the value given for a parameter. For something inside a parameter that has no value yet, returns what the
   * default has there.
   */
  at([name, ...rest]: ValuePath): unknown {
    let at = rest.length === 0 ? this.#given(String(name)) : this.#givenOrDefault(String(name));
    for (const part of rest) at = Object(at)[part];
    return at;
  }

  #given(name: string): unknown {
    return Object.hasOwn(this.values, name) ? this.values[name] : undefined;
  }

  #givenOrDefault(name: string): unknown {
    return this.#given(name) ?? this.parameters[name]?.default;
  }

  /**
   * Sets a value; `undefined` removes it. Missing parents are created; if the parameter was left to its default, the
   * rest of that default is kept.
   */
  give(path: ValuePath, value: unknown): void {
    const name = String(path[0]);
    const root = structuredClone(this.values) as Record<string | number, unknown>;
    if (path.length > 1) root[name] = structuredClone(this.#givenOrDefault(name));
    let parent = root;
    for (const [at, part] of path.slice(0, -1).entries()) {
      if (typeof parent[part] !== 'object' || parent[part] === null)
        parent[part] = typeof path[at + 1] === 'number' ? [] : {};
      parent = parent[part] as Record<string | number, unknown>;
    }
    const last = path.at(-1) as string | number;
    if (value !== undefined) parent[last] = value;
    else if (Array.isArray(parent)) parent.splice(Number(last), 1);
    else delete parent[last];
    this.values = root;
    this.touch(name);
  }

  /** Takes over earlier values whose parameters still exist and are not secret. */
  giveAll(values: Readonly<Record<string, unknown>>): void {
    const fitting = Object.entries(values).filter(
      ([name]) => Object.hasOwn(this.parameters, name) && this.parameters[name]?.secret !== true,
    );
    this.values = { ...this.values, ...Object.fromEntries(fitting) };
    this.#touched = new Set([...this.#touched, ...fitting.map(([name]) => name)]);
  }

  giveSecret(name: string, value: string): void {
    const { [name]: _, ...others } = this.secrets;
    this.secrets = value === '' ? others : { ...others, [name]: value };
  }

  /** From now on, problems of this parameter are shown. */
  touch(name: string): void {
    if (!this.#touched.has(name)) this.#touched = new Set([...this.#touched, name]);
  }

  forgetSecrets(): void {
    this.secrets = {};
  }

  /** Returns the problems of a value that should be shown already. */
  problemsAt(path: ValuePath): readonly ErrorDetail[] {
    const [name = ''] = path;
    if (!this.showAll && !this.#touched.has(String(name))) return [];
    const written = pathText(path);
    return this.problems.filter((one) => one.path === written);
  }

  /** Problems of rules, and others that no field shows. */
  readonly general: readonly ErrorDetail[] = $derived.by(() => {
    const names = new Set(Object.keys(this.parameters).map((name) => `parameters.${name}`));
    const others = this.problems.filter(
      ({ path }) =>
        ![...names].some((one) => path === one || path.startsWith(`${one}.`) || path.startsWith(`${one}[`)),
    );
    return this.showAll || this.#touched.size > 0 ? others : [];
  });
}

function pathText(path: ValuePath): string {
  let text = 'parameters';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += /^[\w-]+$/.test(part) ? `.${part}` : `[${JSON.stringify(part)}]`;
  }
  return text;
}

/**
 * Converts what was typed to the type of the value; it stays text if it can't be converted, so that the check reports
 * it.
 */
export function readTyped({ type }: ValueDefinition, typed: string): unknown {
  if (type === 'string') return typed;
  const text = typed.trim();
  if (text === '') return undefined;
  if (type === 'integer' || type === 'number')
    return /^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(text) ? Number(text) : text;
  try {
    return JSON.parse(text);
  } catch {
    return typed;
  }
}

/** Initial value of a new list item or of an object that is added. */
export function firstValue({ type, default: given, enum: choices }: ValueDefinition): unknown {
  if (given !== undefined) return structuredClone(given);
  if (choices !== undefined) return choices[0];
  switch (type) {
    case 'string':
      return '';
    case 'boolean':
      return false;
    case 'array':
      return [];
    case 'object':
      return {};
    default:
      return 0;
  }
}

export function shownValue(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
