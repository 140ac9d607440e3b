import type { ErrorDetail, ImportFinding, JobDefinition, JobState } from '@opsconductor/protocol';

export interface ConvertedJob {
  definition: JobDefinition | undefined;
  state: JobState | undefined;
  findings: Pick<ImportFinding, 'kind' | 'path' | 'message'>[];
  problems: ErrorDetail[];
  /** Where in Rundeck's file stands what a path of the item (`definition.steps[0].config`) was made of. */
  sourceOf(path: string): string;
}

export function convertRundeckJob(_value: unknown): ConvertedJob {
  return {
    definition: undefined,
    state: undefined,
    findings: [],
    problems: [{ path: '', message: 'Jobs of Rundeck can’t be converted yet.' }],
    sourceOf: (path) => path,
  };
}
