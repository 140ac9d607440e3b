// Runs of the stand-in whose hosts failed for several reasons: 6801 for one, 6805 for five, 6806 likewise and still going
// on, 6840 for forty, at steps with long names.
import type { StepReason } from '@opsconductor/protocol';
import type { MockRun } from './outcomes-api.ts';
import { makeRun } from './run-fixtures.ts';

type Failure = readonly [reason: StepReason, exitCode: number | null, message: string, advice: string];
const failures: readonly Failure[] = [
  ['exit_code', 100, 'The command ended with exit code 100.', 'Look at the last lines of its output.'],
  ['exit_code', 1, 'The command ended with exit code 1.', 'Look at the last lines of its output.'],
  [
    'connect_timed_out',
    null,
    'The host did not answer within 10 seconds.',
    'Check that it is up, and the network to it.',
  ],
  [
    'become_password_missing',
    null,
    'sudo asks for a password, and the credential has none.',
    'Add it to the credential, or allow the command without one.',
  ],
  ['host_key_mismatch', null, 'The host key has changed.', 'Compare its fingerprint at the target.'],
];
const rare: readonly StepReason[] = [
  'no_common_algorithm',
  'certificate_refused',
  'credential_unusable',
  'start_within_expired',
  'working_directory',
  'permission_denied',
  'checksum_mismatch',
  'connection_refused',
];

function fails(found: MockRun, failureOf: (nth: number) => Failure): MockRun {
  let nth = 0;
  for (const step of found.steps) {
    if (step.status !== 'failed') continue;
    const [reason, exitCode, errorMessage, advice] = failureOf(nth);
    Object.assign(step, { reason, exitCode, errorMessage, advice });
    nth += 1;
  }
  return found;
}

const several = (nth: number): Failure => failures[[0, 0, 0, 0, 1, 1, 2, 3, 4][nth % 9] ?? 0] as Failure;
/** Several of each of the first ones, one of each of the last. */
function manyCauses(nth: number): Failure {
  const cause = nth < 20 ? nth >> 2 : nth - 15;
  const known = failures[cause];
  if (known !== undefined) return known;
  const reason = rare[cause - failures.length];
  if (reason !== undefined) return [reason, null, 'The step could not be done.', 'Look at the target.'];
  return ['exit_code', cause, `The command ended with exit code ${cause}.`, 'Look at its output.'];
}

export function failedRuns(names: (at: number) => string): MockRun[] {
  const many = makeRun(6840, 0, { failed: 55, succeeded: 3 }, (at) => `${names(at % 24)}-${at}`);
  const longName =
    'Install the security updates of the distribution and restart what uses a replaced library';
  for (const step of many.steps) if (step.stepNumber === 2) step.name = longName;
  if (many.run.steps[1] !== undefined) many.run.steps[1].name = longName;
  return [
    fails(makeRun(6801, 0, { failed: 9, succeeded: 15 }, names), () => failures[0] as Failure),
    fails(makeRun(6805, 0, { failed: 9, succeeded: 15 }, names), several),
    fails(makeRun(6806, 0, { failed: 9, running: 5, queued: 3, succeeded: 7 }, names), several),
    fails(many, manyCauses),
  ];
}
