import type { JobProblemKind } from '@opsconductor/protocol';

/** What is wrong with a job, in a word or two; the message beside it says the rest. */
export const kindWords: Readonly<Record<JobProblemKind, string>> = {
  unknown_credential: 'no such credential',
  unknown_step_type: 'unknown step type',
  deprecated_step_type: 'deprecated step type',
  segment_without_agents: 'no agent',
  failing: 'failing',
  invalid: 'invalid',
  site_rule: 'site rule',
};
