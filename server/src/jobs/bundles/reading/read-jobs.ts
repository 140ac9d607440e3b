// Reads a file job by job: each is checked by itself, and all its problems are reported with their positions.
import {
  BundledJobSchema,
  bundleMark,
  bundleVersion,
  type ErrorDetail,
  type ImportFinding,
  type ImportFormat,
  type ImportProblem,
  type JobBundle,
  JobBundleSchema,
  type JobDefinition,
  type JobState,
  limits,
} from '@opsconductor/protocol';
import { type TSchema, Type } from 'typebox';
import { schemaProblems } from '../../../validation/schema-problems.ts';
import { withUnstorableText } from '../../../validation/storable-text.ts';
import type { Place } from '../../../yaml/places.ts';
import { type ListItem, type LongList, readLongList } from '../../../yaml/read-long-list.ts';
import { runAsCredential } from '../../checks/require-credential-use.ts';
import { examineDefinition } from '../../definition/validate-definition.ts';
import { convertRundeckJob } from '../../rundeck/convert-job.ts';

/** A job of a file, as an import takes it. */
export interface BundleEntry {
  definition: JobDefinition;
  /** The state that the job is set to, whether it exists or not. */
  state?: JobState;
  /** The state that the job gets if it is created. */
  firstState?: JobState;
  tags: string[];
  channels: string[];
  madeFrom?: string;
}

export interface ReadJob {
  /** Counted from 1. */
  position: number;
  place: Place;
  fileName: string;
  /** Undefined if the job has problems. */
  entry?: BundleEntry;
  problems: ImportProblem[];
  findings: ImportFinding[];
  /** Positions of what only the database can find wrong, keyed by the path in the item. */
  places: Record<string, Place>;
}

export interface ReadStep {
  job?: ReadJob;
  /** Problems of the file as a whole. */
  problems: ImportProblem[];
  findings?: ImportFinding[];
  /** Share of the text that has been read, from 0 to 1. */
  done: number;
}

/** Reads a file, one job at a time. */
export function* readJobs(text: string, format: ImportFormat): Generator<ReadStep> {
  if (format === 'rundeck' && text.trimStart().startsWith('<')) {
    const message = 'XML is not supported: export the jobs as YAML or JSON (`rd jobs list -F yaml`).';
    yield { problems: [{ path: '', message, job: null }], done: 1 };
    return;
  }
  const list = readLongList(text, format === 'bundle' ? 'jobs' : undefined);
  if ('problems' in list) {
    yield { problems: list.problems.map((one) => ({ ...one, job: null })), done: 1 };
    return;
  }
  if (format === 'bundle') {
    const problems = list.locateBeside(headProblems(list.beside));
    const findings = problems.length > 0 ? [] : leftOutFindings(list);
    yield { problems: problems.map((one) => ({ ...one, job: null })), findings, done: 0 };
    // The file is for another version, so all its jobs would only seem wrong.
    if (problems.some(({ path }) => path === 'format' || path === 'version')) return;
  }
  for (const item of list.items) {
    if (item.position > limits.maxJobsPerBundle) {
      const message = `There are more than ${limits.maxJobsPerBundle} jobs, which is the most for one file; split it.`;
      yield { problems: [{ path: 'jobs', message, ...item.place, job: null }], done: 1 };
      return;
    }
    const job = format === 'bundle' ? readBundled(item) : readRundeck(item);
    yield { job, problems: [], done: text.length === 0 ? 1 : item.readTo / text.length };
  }
}

const headSchema = {
  ...JobBundleSchema,
  properties: { ...JobBundleSchema.properties, jobs: Type.Unknown() },
};

function headProblems(beside: Record<string, unknown>): ErrorDetail[] {
  return schemaProblems(headSchema as TSchema, { ...beside, jobs: [] }).map((problem) => {
    if (problem.path === 'format' || (problem.path === '' && !('format' in beside))) {
      return {
        ...problem,
        path: 'format',
        message: `A bundle begins with \`format: ${bundleMark}\` and \`version: ${bundleVersion}\`.`,
      };
    }
    if (problem.path === 'version' && beside.version !== bundleVersion) {
      return { ...problem, message: `This server reads bundles of version ${bundleVersion}.` };
    }
    return problem;
  });
}

/** Reports jobs that the exporting server could not put into the file, so that the importer knows they are missing. */
function leftOutFindings({ beside, locateBeside }: LongList): ImportFinding[] {
  const { left_out: leftOut = [] } = beside as Pick<JobBundle, 'left_out'>;
  const located = locateBeside(
    leftOut.map((_, n) => ({
      path: `left_out[${n}]`,
      message: 'Is not in the file: its definition could not be opened when it was exported.',
    })),
  );
  return located.map(({ path, message, line = 1, column = 1 }, n) => ({
    kind: 'left_out',
    job: leftOut[n]?.name ?? null,
    line,
    column,
    path,
    message,
  }));
}

const envelopeSchema = {
  ...BundledJobSchema,
  properties: { ...BundledJobSchema.properties, definition: Type.Unknown() },
} as TSchema;

function readBundled(item: ListItem): ReadJob {
  if (item.problems.length > 0) return unread(item);
  const beside: unknown = structuredClone(item.value);
  const given = Object(beside) as Record<string, unknown>;
  const { definition: _, ...rest } = given;
  const problems = withUnstorableText(schemaProblems(envelopeSchema, beside, { max: 50 }), rest);
  let definition: unknown;
  if (given.definition !== undefined) {
    const examined = examineDefinition(given.definition);
    definition = examined.definition;
    problems.push(...examined.problems.map((one) => ({ ...one, path: below('definition', one.path) })));
  }
  if (problems.length === 0) problems.push(...namedTwice(given));
  const fileName = nameOf(given.definition);
  const {
    state,
    tags = [],
    channels = [],
    made_from: madeFrom,
  } = given as {
    state?: JobState;
    tags?: string[];
    channels?: string[];
    made_from?: string;
  };
  return {
    position: item.position,
    place: item.place,
    fileName,
    ...(problems.length > 0
      ? { places: {} }
      : {
          places: placesOf(item, definition as JobDefinition, (path) => path),
          entry: {
            definition: definition as JobDefinition,
            tags,
            channels,
            ...(state === undefined ? {} : { state }),
            ...(madeFrom === undefined ? {} : { madeFrom }),
          },
        }),
    problems: toldOf(item, fileName, problems),
    findings: [],
  };
}

/** Tags and channels share one set of names. */
function namedTwice({ tags = [], channels = [] }: { tags?: string[]; channels?: string[] }): ErrorDetail[] {
  return channels.flatMap((name, n) =>
    tags.includes(name)
      ? [
          {
            path: `channels[${n}]`,
            message: 'Is a tag too; a name is either a tag or a channel.',
            found: name,
          },
        ]
      : [],
  );
}

function readRundeck(item: ListItem): ReadJob {
  if (item.problems.length > 0) return unread(item);
  const {
    definition: converted,
    state,
    findings,
    sourceOf,
    problems: refused,
  } = convertRundeckJob(item.value);
  const { definition, problems } =
    converted === undefined ? { definition: undefined, problems: [] } : examineDefinition(converted);
  const fileName = nameOf(item.value);
  const located = item.locate([
    ...refused,
    ...problems.map((one) => ({ ...one, path: sourceOf(below('definition', one.path)) })),
  ]);
  const told = located.map((one, n) => {
    const path = refused[n]?.path ?? below('definition', problems[n - refused.length]?.path ?? '');
    return { ...one, path: inJobs(item, path), job: fileName };
  });
  return {
    position: item.position,
    place: item.place,
    fileName,
    ...(told.length > 0 || definition === undefined
      ? { places: {} }
      : {
          places: placesOf(item, definition as JobDefinition, sourceOf),
          entry: {
            definition: definition as JobDefinition,
            tags: [],
            channels: [],
            ...(state === undefined ? {} : { firstState: state }),
          },
        }),
    problems: told,
    findings: item
      .locate(findings)
      .map(({ path, line = item.place.line, column = item.place.column }, n) => ({
        kind: findings[n]?.kind ?? 'note',
        job: fileName,
        line,
        column,
        path,
        message: findings[n]?.message ?? '',
      }))
      .sort((one, other) => one.line - other.line || one.column - other.column),
  };
}

function unread(item: ListItem): ReadJob {
  const { position, place } = item;
  const problems = item.problems.map((one) => ({ ...one, path: inJobs(item, ''), job: null }));
  return { position, place, fileName: '', problems, findings: [], places: {} };
}

function toldOf(item: ListItem, fileName: string, problems: readonly ErrorDetail[]): ImportProblem[] {
  return item
    .locate(problems)
    .map((one) => ({ ...one, path: inJobs(item, one.path), job: fileName || null }));
}

/** Returns the positions of what may be wrong with a valid job, for this caller or next to existing jobs. */
function placesOf(
  item: ListItem,
  definition: JobDefinition,
  sourceOf: (path: string) => string,
): Record<string, Place> {
  const steps = definition.steps.flatMap((step, n) => [
    ...(step.connection?.credential === undefined ? [] : [`definition.steps[${n}].connection.credential`]),
    ...(runAsCredential(step) === undefined ? [] : [`definition.steps[${n}].config.run_as_credential`]),
    ...(JSON.stringify(step.config ?? null).includes('raw(')
      ? [`definition.steps[${n}].config.command`]
      : []),
  ]);
  const paths = ['definition.name', 'definition.category', 'definition.connection.credential', ...steps];
  const located = item.locate(paths.map((path) => ({ path: sourceOf(path), message: '' })));
  return Object.fromEntries(
    paths.map((path, n) => {
      const { line = item.place.line, column = item.place.column } = located[n] ?? {};
      return [path, { line, column }];
    }),
  );
}

export const inJobs = ({ position }: { position: number }, path: string) =>
  below(`jobs[${position - 1}]`, path);
const below = (outer: string, path: string) =>
  path === '' ? outer : path.startsWith('[') ? `${outer}${path}` : `${outer}.${path}`;

function nameOf(value: unknown): string {
  const { name } = Object(value) as { name?: unknown };
  return typeof name === 'string' ? name.slice(0, 200) : '';
}
