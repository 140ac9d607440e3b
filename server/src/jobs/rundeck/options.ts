// Converts Rundeck's options to parameters. In Rundeck, an option without a value is the empty text; it is here too.
import { compilePattern, isPattern, limits, type Parameter, type Parameters } from '@opsconductor/protocol';
import { asBoolean, asDescription, asList, asName, asObject, asText, type Loose } from './loose.ts';
import type { Report } from './report.ts';

export interface ConvertedOptions {
  parameters: Parameters;
  /** Parameter names by option name. */
  names: Map<string, string>;
  /** Path in Rundeck's job that each parameter comes from. */
  paths: Map<string, string>;
}

const known = new Set([
  ...[
    'name',
    'label',
    'description',
    'value',
    'values',
    'required',
    'enforced',
    'regex',
    'valuesUrl',
    'type',
  ],
  ...['multivalued', 'delimiter', 'multivalueAllSelected', 'secure', 'valueExposed', 'storagePath', 'isDate'],
  ...[
    'dateFormat',
    'sortIndex',
    'sortValues',
    'valuesListDelimiter',
    'hidden',
    'realValuesUrl',
    'configRemoteUrl',
  ],
  ...['optionValuesPluginType', 'valuesFromPlugin', 'config'],
]);

export function convertOptions(value: unknown, report: Report): ConvertedOptions {
  const converted: ConvertedOptions = { parameters: {}, names: new Map(), paths: new Map() };
  for (const { option, path } of optionsOf(value)) convertOption(option, path, report, converted);
  return converted;
}

/** Takes a list or, as in older files, a map by name. */
function optionsOf(value: unknown): { option: Loose; path: string }[] {
  if (Array.isArray(value)) {
    return value.map((one, n) => ({ option: asObject(one) ?? {}, path: `options[${n}]` }));
  }
  return Object.entries(asObject(value) ?? {}).map(([name, one]) => ({
    option: { name, ...asObject(one) },
    path: `options.${name}`,
  }));
}

function convertOption(option: Loose, path: string, report: Report, converted: ConvertedOptions): void {
  const optionName = asText(option.name);
  if (optionName === undefined) {
    report.dropped(path, 'An option without a name is left out.');
    return;
  }
  if (asBoolean(option.secure) && !asBoolean(option.valueExposed)) {
    report.dropped(
      path,
      `Rundeck uses option “${optionName}” only to log in to its nodes. Give the targets a credential instead.`,
    );
    return;
  }
  if (asText(option.type) === 'file') {
    report.dropped(
      path,
      `Option “${optionName}” takes a file, which can’t be given to a run: bring it to the targets in another way.`,
    );
    return;
  }
  const name = freeIdentifier(optionName, converted.parameters);
  if (name !== optionName) {
    report.changed(
      path,
      `Option “${optionName}” became the parameter ${name}: names consist of letters, digits and underscores.`,
    );
  }
  converted.names.set(optionName, name);
  converted.paths.set(name, path);
  converted.parameters[name] = parameterOf(
    option,
    optionName,
    path,
    report,
    Object.keys(converted.parameters).length,
  );
}

function freeIdentifier(text: string, taken: Parameters): string {
  const base = text
    .replaceAll(/[^A-Za-z0-9_]/g, '_')
    .replace(/^(?![A-Za-z_])/, '_')
    .slice(0, 60);
  if (!Object.hasOwn(taken, base)) return base;
  for (let n = 2; ; n += 1) if (!Object.hasOwn(taken, `${base}_${n}`)) return `${base}_${n}`;
}

function parameterOf(option: Loose, name: string, path: string, report: Report, order: number): Parameter {
  const parameter: Parameter = { type: 'string', order };
  const label = asText(option.label);
  if (label !== undefined) parameter.title = asName(label);
  const told = [asText(option.description)];
  const values = valuesOf(option);
  const isRequired = asBoolean(option.required);
  const isSecret = asBoolean(option.secure);
  const default_ = asText(option.value);
  if (isSecret) {
    parameter.secret = true;
    if (default_ !== undefined || asText(option.storagePath) !== undefined) {
      const at = option.storagePath === undefined ? 'value' : 'storagePath';
      report.dropped(
        `${path}.${at}`,
        `The value of “${name}” is secret and is not kept in a job: it must be given for each run.`,
      );
    }
  } else if (asBoolean(option.multivalued)) {
    severalValues(parameter, { option, name, path, values }, report);
  } else if (asBoolean(option.enforced) && values.length > 0) {
    parameter.enum = isRequired || default_ !== undefined ? values : [...values, ''];
  } else if (values.length > 0) {
    told.push(`Suggested: ${values.join(', ')}`);
    report.changed(`${path}.values`, `Suggested values are listed in the description of “${name}”.`);
  }
  if (
    asText(option.valuesUrl) !== undefined ||
    option.valuesFromPlugin !== undefined ||
    option.optionValuesPluginType !== undefined
  ) {
    const at = option.valuesUrl === undefined ? '' : '.valuesUrl';
    report.dropped(
      `${path}${at}`,
      `Values of “${name}” are not fetched from elsewhere: any can be given. Add an enum to restrict them.`,
    );
  }
  if (parameter.enum === undefined) addPattern(parameter, { option, name, path, isRequired }, report);
  if (asBoolean(option.isDate)) addDate(parameter, { option, name, path, isRequired, told }, report);
  if (asBoolean(option.hidden))
    report.dropped(
      `${path}.hidden`,
      `“${name}” is shown: parameters can’t be hidden from the person who runs the job.`,
    );
  if (!isSecret && [default_ ?? '', ...values].some((one) => one.startsWith('-'))) {
    parameter.allow_leading_dash = true;
    report.note(
      path,
      `Values of “${name}” may begin with a hyphen, because its default or one of its values does.`,
    );
  }
  const description = told.filter((one) => one !== undefined).join('\n');
  if (description !== '') parameter.description = asDescription(description, 2_000);
  if (!isSecret) {
    if (default_ !== undefined) addDefault(parameter, { default_, name, path }, report);
    else if (!isRequired) parameter.default = '';
  } else if (!isRequired) {
    report.changed(path, `“${name}” must be given: a secret has no default.`);
  }
  for (const key of Object.keys(option).filter((one) => !known.has(one))) {
    report.dropped(`${path}.${key}`, `\`${key}\` of an option is unknown and is left out.`);
  }
  return parameter;
}

function valuesOf(option: Loose): string[] {
  const { values } = option;
  const list =
    typeof values === 'string' ? values.split(asText(option.valuesListDelimiter) ?? ',') : asList(values);
  return [...new Set(list.flatMap((one) => asText(one)?.trim() ?? []))].slice(0, limits.maxEnumValues - 1);
}

interface Place {
  option: Loose;
  name: string;
  path: string;
}

function severalValues(
  parameter: Parameter,
  { option, name, path, values }: Place & { values: string[] },
  report: Report,
): void {
  const delimiter = asText(option.delimiter) ?? ',';
  report.changed(
    `${path}.multivalued`,
    `Several values of “${name}” are given as one text, separated by “${delimiter}”, which is how scripts receive them.`,
  );
  if (asBoolean(option.multivalueAllSelected)) {
    report.dropped(
      `${path}.multivalueAllSelected`,
      `Values of “${name}” are not all chosen by default: list them as its default.`,
    );
  }
  if (values.length === 0) return;
  if (!asBoolean(option.enforced)) {
    report.changed(`${path}.values`, `Suggested values of “${name}” are left out.`);
    return;
  }
  const one = `(?:${values.map(quoted).join('|')})`;
  parameter.pattern = `^(?:${one}(?:${quoted(delimiter)}${one})*)${asBoolean(option.required) ? '' : '?'}$`;
}

function addPattern(
  parameter: Parameter,
  { option, name, path, isRequired }: Place & { isRequired: boolean },
  report: Report,
): void {
  const regex = asText(option.regex);
  if (regex === undefined) return;
  if (parameter.pattern !== undefined) {
    report.dropped(
      `${path}.regex`,
      `The pattern of “${name}” is left out: its values are already restricted.`,
    );
    return;
  }
  // The pattern may have its own anchors, which are replaced by those added here; anchors inside alternatives belong to
  // the alternatives.
  const own = /^\^([^|]*[^|\\])\$$/.exec(regex)?.[1] ?? regex;
  const whole = `^(?:${own})${isRequired ? '' : '?'}$`;
  if (isPattern(compilePattern(whole))) parameter.pattern = whole;
  else {
    report.dropped(
      `${path}.regex`,
      `The pattern of “${name}” can’t be checked in linear time (RE2): any value is accepted. Write another one.`,
    );
  }
}

function addDate(
  parameter: Parameter,
  { option, name, path, isRequired, told }: Place & { isRequired: boolean; told: (string | undefined)[] },
  report: Report,
): void {
  const format = asText(option.dateFormat) ?? 'MM/DD/YYYY hh:mm a';
  if (format === 'YYYY-MM-DD' && (isRequired || option.value !== undefined)) {
    parameter.format = 'date';
    return;
  }
  told.push(`A date as ${format}`);
  report.changed(
    `${path}.isDate`,
    `The date “${name}” is a text; its format, ${format}, is in the description.`,
  );
}

function addDefault(
  parameter: Parameter,
  { default_, name, path }: { default_: string; name: string; path: string },
  report: Report,
): void {
  const why = whyNoDefault(parameter, default_);
  if (why === undefined) parameter.default = default_;
  else report.dropped(`${path}.value`, `The default of “${name}” ${why}; it must be given.`);
}

function whyNoDefault(parameter: Parameter, value: string): string | undefined {
  if (/\$\{[^}]+\}/.test(value)) return 'contains a Rundeck variable';
  if (parameter.enum !== undefined && !parameter.enum.includes(value)) return 'is not one of its values';
  const pattern = parameter.pattern === undefined ? undefined : compilePattern(parameter.pattern);
  if (pattern !== undefined && isPattern(pattern) && !pattern.matches(value))
    return 'does not match its pattern';
  if (parameter.format === 'date' && !/^\d{4}-\d{2}-\d{2}$/.test(value)) return 'is not a date';
  return undefined;
}

function quoted(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
