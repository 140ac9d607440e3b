import type { ImportFinding, ImportFormat, ImportProblem } from '@opsconductor/protocol';
import { type ReadJob, readJobs } from './read-jobs.ts';

/** Some jobs of a file. */
export interface ReadBatch {
  jobs: ReadJob[];
  problems: ImportProblem[];
  /** Findings about the file as a whole. */
  findings: ImportFinding[];
  /** Share of the text that has been read, from 0 to 1. */
  done: number;
  isLast: boolean;
}

/** Reads a file in batches. A batch ends after `maxJobs` jobs, or with the first job that is read after `maxMs`. */
export function* readBatches(
  bytes: Uint8Array,
  format: ImportFormat,
  { maxJobs, maxMs }: { maxJobs: number; maxMs: number },
): Generator<ReadBatch> {
  const text = decode(bytes);
  if (text === undefined) {
    const problems = [{ path: '', message: 'The file is not UTF-8.', job: null }];
    yield { jobs: [], problems, findings: [], done: 1, isLast: true };
    return;
  }
  let batch: ReadBatch = { jobs: [], problems: [], findings: [], done: 0, isLast: false };
  let startedMs = performance.now();
  for (const { job, problems, findings = [], done } of readJobs(text, format)) {
    if (job !== undefined) batch.jobs.push(job);
    batch.problems.push(...problems);
    batch.findings.push(...findings);
    batch.done = done;
    if (batch.jobs.length < maxJobs && performance.now() - startedMs < maxMs) continue;
    yield batch;
    batch = { jobs: [], problems: [], findings: [], done, isLast: false };
    startedMs = performance.now();
  }
  yield { ...batch, done: 1, isLast: true };
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
