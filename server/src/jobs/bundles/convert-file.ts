import {
  type BundledJob,
  bundleMark,
  bundleVersion,
  type ConvertedJobs,
  type ImportFinding,
  type ImportProblem,
  limits,
} from '@opsconductor/protocol';
import { AppError } from '../../errors.ts';
import type { ReadBatch } from './reading/read-batches.ts';
import type { BundleEntry } from './reading/read-jobs.ts';
import { writeBundle } from './write-bundle.ts';

/** Returns a bundle of the converted jobs, with what was lost in the conversion. */
export async function convertFile(batches: AsyncIterable<ReadBatch>): Promise<ConvertedJobs> {
  const jobs: BundledJob[] = [];
  const problems: ImportProblem[] = [];
  const findings: ImportFinding[] = [];
  for await (const batch of batches) {
    problems.push(...batch.problems);
    for (const job of batch.jobs) {
      problems.push(...job.problems);
      findings.push(...job.findings);
      if (job.entry !== undefined) jobs.push(bundledOf(job.entry));
    }
  }
  const [first] = problems;
  if (first !== undefined) {
    const message =
      problems.length === 1
        ? first.message
        : `${problems.length} problems were found in the file. The first: ${first.message}`;
    const details = problems.slice(0, limits.maxImportProblems).map(({ job: _, ...detail }) => detail);
    throw new AppError('invalid', message, { details });
  }
  return {
    bundle: { format: bundleMark, version: bundleVersion, jobs },
    yaml: writeBundle(jobs, 'yaml'),
    findings: findings.slice(0, limits.maxImportFindings),
    findingCount: findings.length,
  };
}

function bundledOf({ definition, state, firstState, tags, channels, madeFrom }: BundleEntry): BundledJob {
  const first = state ?? firstState;
  return {
    definition,
    ...(first === undefined ? {} : { state: first }),
    ...(tags.length === 0 ? {} : { tags }),
    ...(channels.length === 0 ? {} : { channels }),
    ...(madeFrom === undefined ? {} : { made_from: madeFrom }),
  };
}
