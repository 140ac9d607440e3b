// Converts what Rundeck fills into commands and scripts to placeholders: `${option.x}`, `@option.x@`, and environment
// variables such as `$RD_OPTION_X`.
import type { Parameters } from '@opsconductor/protocol';
import type { Report } from './report.ts';

/** What the texts of a job can refer to. */
export interface Sources {
  /** Parameter names by option name. */
  options: ReadonlyMap<string, string>;
  parameters: Parameters;
  /** Returns the reference to a value from an earlier step's log, such as `steps.x.outputs.y`. */
  data: (key: string) => string | undefined;
  group: string | undefined;
  project: string | undefined;
}

/** A reference; or a text that is known already; or why there is neither. */
type Found = { reference: string } | { text: string } | { problem: string };

const targetFields: ReadonlyMap<string, string> = new Map([
  ['name', 'target.name'],
  ['hostname', 'target.host'],
  ['os-family', 'target.os'],
]);
const jobFields: ReadonlyMap<string, string> = new Map([
  ['name', 'job.name'],
  ['id', 'job.id'],
  ['execid', 'run.id'],
  ['username', 'run.created_by'],
  ['user.name', 'run.created_by'],
]);

export class References {
  readonly #sources: Sources;
  readonly #report: Report;
  /** Option names as variables spell them, the first option of each spelling. */
  readonly #spelled: ReadonlyMap<string, string>;
  /** Variables that the scripts read, with the placeholders that they hold. */
  readonly environment = new Map<string, string>();
  /** Why the text can't be carried over. */
  readonly problems: string[] = [];

  constructor(sources: Sources, report: Report) {
    this.#sources = sources;
    this.#report = report;
    this.#spelled = new Map([...sources.options.keys()].reverse().map((name) => [spelled(name), name]));
  }

  /** Converts a command line, with references such as `${option.x}`. */
  inCommand(text: string, path: string, write: (reference: string) => string): string {
    return this.#replace(text, /\$\{([a-z]+)\.([^}\s]{1,200})\}/g, path, write);
  }

  /** Converts the text of a script, with references such as `@option.x@`. */
  inScript(text: string, path: string, write: (reference: string) => string): string {
    return this.#replace(text, /@([a-z]+)\.([A-Za-z0-9_.:-]+)@/g, path, write);
  }

  /** Finds the environment variables that the text reads. */
  readEnvironment(text: string, path: string): void {
    for (const name of new Set(text.match(/\bRD_[A-Z][A-Z0-9_]*\b/g) ?? [])) {
      const found = this.#variable(name);
      if ('reference' in found) this.environment.set(name, placeholder(found.reference));
      else if ('text' in found) this.environment.set(name, found.text);
      else this.#report.dropped(path, `The variable ${name} is not set: ${found.problem}`);
    }
  }

  #replace(text: string, pattern: RegExp, path: string, write: (reference: string) => string): string {
    // Escapes text that would read as one of our placeholders, before any are added.
    return text
      .replaceAll('${{', () => '$${{')
      .replaceAll(pattern, (whole, kind: string, name: string) => {
        const found = this.#find(kind.replace(/^unquoted/, ''), name, path);
        if (found === undefined) return whole;
        if (kind.startsWith('unquoted')) {
          this.#report.changed(path, `${whole} was shell text; here it is data, whatever it contains.`);
        }
        if ('reference' in found) return write(found.reference);
        if ('text' in found) return found.text;
        this.problems.push(`${whole}: ${found.problem}`);
        return whole;
      });
  }

  #find(kind: string, name: string, path: string): Found | undefined {
    switch (kind) {
      case 'option':
        return this.#option(name);
      case 'node':
        return this.#node(name, path);
      case 'job':
        return this.#job(name);
      case 'data':
        return this.#data(name);
      case 'globals':
        return this.#global(name, path);
      default:
        return undefined;
    }
  }

  #option(name: string): Found {
    const parameter = this.#sources.options.get(name);
    return parameter === undefined
      ? { problem: 'the job has no such option, or it was not carried over.' }
      : { reference: `parameters.${parameter}` };
  }

  #node(name: string, path: string): Found {
    const field = targetFields.get(name);
    if (field !== undefined) return { reference: field };
    if (!/^[A-Za-z0-9](?:[A-Za-z0-9_./-]*[A-Za-z0-9])?$/.test(name))
      return { problem: 'targets have nothing with this name.' };
    this.#report.changed(
      path,
      `The node attribute “${name}” became the target label ${name}: give the targets this label.`,
    );
    return { reference: /^[A-Za-z_]\w*$/.test(name) ? `target.labels.${name}` : `target.labels["${name}"]` };
  }

  #job(name: string): Found {
    const field = jobFields.get(name);
    if (field !== undefined) return { reference: field };
    const { group, project } = this.#sources;
    if (name === 'group' && group !== undefined) return { text: group };
    if (name === 'project' && project !== undefined) return { text: project };
    return { problem: 'there is no equivalent here.' };
  }

  #data(name: string): Found {
    const output = this.#sources.data(name);
    return output === undefined
      ? { problem: 'no earlier step hands it on: give one an output with this name.' }
      : { reference: output };
  }

  #global(name: string, path: string): Found {
    const parameter = `globals_${name.replaceAll(/\W/g, '_')}`.slice(0, 64);
    this.#sources.parameters[parameter] ??= {
      type: 'string',
      description: `The global variable ${name} of Rundeck`,
    };
    this.#report.changed(
      path,
      `The global variable “${name}” became the parameter ${parameter}: give it a default.`,
    );
    return { reference: `parameters.${parameter}` };
  }

  #variable(name: string): Found {
    const [, kind, rest = ''] = /^RD_([A-Z]+)_(.+)$/.exec(name) ?? [];
    if (kind === 'OPTION') {
      const option = this.#spelled.get(rest);
      return option === undefined
        ? { problem: 'no option with this name was carried over.' }
        : this.#option(option);
    }
    if (kind === 'NODE' || kind === 'JOB') {
      const fields = kind === 'NODE' ? targetFields : jobFields;
      const [, reference] = [...fields].find(([one]) => spelled(one) === rest) ?? [];
      if (reference !== undefined) return { reference };
      return kind === 'JOB' ? this.#job(rest.toLowerCase()) : { problem: 'there is no equivalent here.' };
    }
    if (kind === 'DATA') return this.#data(rest.toLowerCase());
    return { problem: 'there is no equivalent here.' };
  }
}

/** `my-option` is `$RD_OPTION_MY_OPTION`. */
function spelled(name: string): string {
  return name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');
}

export function placeholder(reference: string): string {
  return `\${{ ${reference} }}`;
}
