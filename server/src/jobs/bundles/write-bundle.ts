// Writes a bundle as a file. The same jobs give the same bytes in every installation.
import {
  type BundledJob,
  type BundleFormat,
  bundleMark,
  bundleVersion,
  configKeys,
  definitionKeys,
  type JobBundle,
  type JobDefinition,
  parameterKeys,
  stepKeys,
} from '@opsconductor/protocol';
import { Document, visit } from 'yaml';

const jobKeys = ['definition', 'state', 'tags', 'channels', 'made_from'];

export interface BundleWriter {
  head: string;
  job(job: BundledJob, isFirst: boolean): string;
  foot(isEmpty: boolean, leftOut?: readonly LeftOut[]): string;
}

/** A job that should be in the file but could not be opened. */
type LeftOut = NonNullable<JobBundle['left_out']>[number];

export function bundleWriter(format: BundleFormat): BundleWriter {
  return format === 'yaml' ? yamlWriter : jsonWriter;
}

export function writeBundle(jobs: readonly BundledJob[], format: BundleFormat): string {
  const { head, job, foot } = bundleWriter(format);
  return `${head}${jobs.map((one, n) => job(one, n === 0)).join('')}${foot(jobs.length === 0)}`;
}

const yamlOptions = {
  version: '1.2',
  schema: 'core',
  // Many readers follow YAML 1.1 and take yes and 2026-01-31 for something other than text.
  compat: 'yaml-1.1',
  aliasDuplicateObjects: false,
} as const;

const yamlWriter: BundleWriter = {
  head: `format: ${bundleMark}\nversion: ${bundleVersion}\njobs:`,
  job: (job, isFirst) => {
    const document = new Document([ordered(job)], yamlOptions);
    // A block scalar of only white space is not read back unchanged.
    visit(document, {
      Scalar: (_, scalar) => {
        if (typeof scalar.value === 'string' && /^\s+$/.test(scalar.value)) scalar.type = 'QUOTE_DOUBLE';
      },
    });
    // Block scalars are used only if they are read back byte for byte and are easier to read.
    const text = document.toString({ lineWidth: 0, blockQuote: 'literal' });
    return `${isFirst ? '\n' : ''}${indented(text, '  ')}`;
  },
  foot: (isEmpty, leftOut = []) =>
    `${isEmpty ? ' []\n' : ''}${leftOut.length === 0 ? '' : new Document({ left_out: leftOut }, yamlOptions).toString({ lineWidth: 0 })}`,
};

const jsonWriter: BundleWriter = {
  head: `{\n  "format": ${JSON.stringify(bundleMark)},\n  "version": ${bundleVersion},\n  "jobs": [`,
  job: (job, isFirst) => `${isFirst ? '' : ','}\n${indented(JSON.stringify(ordered(job), null, 2), '    ')}`,
  foot: (isEmpty, leftOut = []) => {
    const more =
      leftOut.length === 0 ? '' : `,\n${indented(`"left_out": ${JSON.stringify(leftOut, null, 2)}`, '  ')}`;
    return `${isEmpty ? ']' : '\n  ]'}${more}\n}\n`;
  },
};

/** Only \n ends a line here: U+2028 and the like are text. */
function indented(text: string, indent: string): string {
  return text.replaceAll(/(^|\n)(?=[^\n])/g, (start) => `${start}${indent}`);
}

function ordered(job: BundledJob): object {
  const { definition, ...rest } = byName(job) as BundledJob;
  return inOrder({ definition: orderedDefinition(definition), ...rest }, jobKeys);
}

function orderedDefinition({ steps, parameters, ...rest }: JobDefinition): object {
  return inOrder(
    {
      ...rest,
      ...(parameters === undefined
        ? {}
        : { parameters: eachIn(parameters, (one) => inOrder(one, parameterKeys)) }),
      steps: steps.map(({ config, ...step }) =>
        inOrder({ ...step, config: inOrder(config as object, configKeys) }, stepKeys),
      ),
    },
    definitionKeys,
  );
}

function eachIn(object: object, change: (value: object) => object): object {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, change(value as object)]));
}

/** Puts the names in `order` first. The others follow in the order that they have, which is by name after `byName`. */
function inOrder(object: object, order: readonly string[]): object {
  const rank = (name: string) => (order.indexOf(name) === -1 ? order.length : order.indexOf(name));
  return Object.fromEntries(Object.entries(object).sort(([a], [b]) => rank(a) - rank(b)));
}

/** Sorts all names and drops undefined values. Parameters keep their order, because forms ask for them in it. */
function byName(value: unknown, name = ''): unknown {
  if (Array.isArray(value)) return value.map((one) => byName(one));
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .map(([key, member]): [string, unknown] => [key, byName(member, key)]);
  const isAsked = name === 'parameters' || name === 'properties';
  return Object.fromEntries(isAsked ? members : members.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
}
