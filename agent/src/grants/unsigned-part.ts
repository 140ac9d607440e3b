// Finds what differs in a lease from what was signed. Everything that the agent acts on is either compared here with
// the grant and the definition that it names, or taken from them instead of from the server.
import {
  canonicalJson,
  type JobDefinition,
  type Lease,
  type LeaseRendering,
  referencesOf,
  type StepDefinition,
  scopeOf,
  stepReferenceName,
} from '@opsconductor/protocol';
import {
  type GrantedTarget,
  type GrantTerms,
  grantedReach,
  grantedSecret,
  unsignablePart,
} from '@opsconductor/protocol/grants';

export interface Signed {
  terms: GrantTerms;
  target: GrantedTarget;
  definition: JobDefinition;
  /** Number of the step in the definition. */
  number: number;
}

/** Returns the first thing that differs, in the words of the policy's refusal; undefined if everything is as signed. */
export async function unsignedPart(lease: Lease, signed: Signed): Promise<string | undefined> {
  const { target, definition, number } = signed;
  const step = definition.steps[number - 1];
  if (step === undefined) return `step ${number}, which the signed job does not have`;
  if (lease.stepType !== step.type) return `a different type of step ${number} than was signed`;
  if (!same(lease.config, step.config)) return `a different configuration of step ${number} than was signed`;
  const granted = target.reaches.find(({ steps }) => steps.includes(number));
  if (granted === undefined) return `step ${number} on ${lease.target.name}, which was not signed`;
  const reach = await grantedReach(lease);
  const place = differingKey(reach.target, granted.target);
  if (place !== undefined) return `a different ${place} of ${granted.target.name} than was signed`;
  const credential = differingKey(reach.credential, granted.credential);
  if (credential !== undefined) return `a different credential than was signed (${credential} differs)`;
  if (!same(reach.runAs, granted.runAs))
    return `a different user for the command of step ${number} than was signed`;
  const unsignable = unsignablePart(step);
  if (unsignable !== undefined) return `step ${number}: it ${unsignable.part}`;
  return unsignedValue(lease, signed, step);
}

/** Returns the lease with everything that was signed: what the server left out is restored. */
export function signedLease(given: Lease, { terms, target, definition, number }: Signed): Lease {
  const { detect_secrets: detectSecrets } = definition;
  const lease = detectSecrets === undefined ? given : { ...given, detectSecrets };
  const { rendering } = lease;
  const step = definition.steps[number - 1];
  if (rendering === undefined || step === undefined) return lease;
  const { notYet: _, ...scope } = scopeOf(definition, number - 1);
  const called = stepReferenceName(step);
  const { run } = rendering.values;
  return {
    ...lease,
    rendering: {
      values: {
        parameters: terms.parameters,
        target: factsOf(lease, target),
        run: { id: run.id, created_at: run.created_at, created_by: terms.startedBy },
        job: { id: terms.job.id, name: definition.name, version: terms.job.version },
        steps: {},
      },
      secrets: rendering.secrets,
      scope,
      ...(step.when === undefined ? {} : { when: step.when }),
      ...(called === undefined ? {} : { step: called }),
      ...(step.outputs === undefined ? {} : { outputs: step.outputs }),
    },
  };
}

async function unsignedValue(
  lease: Lease,
  signed: Signed,
  step: StepDefinition,
): Promise<string | undefined> {
  const { rendering } = lease;
  const { terms, target } = signed;
  const { number } = signed;
  if (rendering === undefined) {
    const isPlain = step.when === undefined && step.outputs === undefined && referencesOf(step).length === 0;
    return isPlain && target.secrets.length === 0
      ? undefined
      : `step ${number} without the values that were signed`;
  }
  const { values, when, outputs, step: called, scope } = rendering;
  const whole = signedLease(lease, signed).rendering as LeaseRendering;
  const parts: [string, unknown, unknown][] = [
    ['condition', when, whole.when],
    ['list of outputs', outputs, whole.outputs],
    ['name', called, whole.step],
    ['place in the job', scope.path, whole.scope.path],
  ];
  const [other] = parts.filter(([, given, asked]) => !same(given, asked));
  if (other !== undefined) return `a different ${other[0]} of step ${number} than was signed`;
  const parameter =
    notAmong(scope.parameters, whole.scope.parameters) ?? notAmong(values.parameters, terms.parameters);
  if (parameter !== undefined) return `a different parameter ${parameter} than was signed`;
  const output = notAmong(scope.steps, whole.scope.steps) ?? Object.keys(values.steps)[0];
  if (output !== undefined) return `values of step ${output}, which were not signed`;
  const fact = differingKey(values.target, whole.values.target);
  if (fact !== undefined) return `a different ${fact} of ${lease.target.name} than was signed`;
  const ofJob = differingKey(values.job, whole.values.job);
  if (ofJob !== undefined) return `a different ${ofJob} of the job than was signed`;
  return unsignedRun(lease, values.run, terms) ?? (await unsignedSecret(rendering, target));
}

function unsignedRun(
  { runId }: Lease,
  run: LeaseRendering['values']['run'],
  { startedBy, notBefore, expiresAt }: GrantTerms,
): string | undefined {
  if (run.id !== runId) return 'a run.id other than that of its run';
  if (run.created_by !== startedBy) return `a run of ${run.created_by}; it was signed for ${startedBy}`;
  // Placeholders may use this text, so it must be a time and nothing else.
  const startedAt = instantOf(run.created_at);
  const isWithin = startedAt >= Date.parse(notBefore) && startedAt < Date.parse(expiresAt);
  return isWithin ? undefined : 'a run that was started before or after the time that was signed';
}

/** Returns the time in ms; NaN for a text that is not exactly how the time is written. */
function instantOf(text: string): number {
  const time = Date.parse(text);
  return Number.isFinite(time) && new Date(time).toISOString() === text ? time : Number.NaN;
}

async function unsignedSecret(
  { secrets }: LeaseRendering,
  { secrets: granted }: GrantedTarget,
): Promise<string | undefined> {
  const handedOn = secrets.find(({ step }) => step !== undefined);
  if (handedOn !== undefined) return `secret values of step ${handedOn.step}, which were not signed`;
  const given = await Promise.all(secrets.map(grantedSecret));
  const differing = given.find((one) => !granted.some((asked) => same(one, asked)));
  if (differing !== undefined) return `a different secret ${differing.name} than was signed`;
  const missing = granted.find((asked) => !given.some((one) => same(one, asked)));
  return missing === undefined ? undefined : `a run without the secret ${missing.name}`;
}

function factsOf(
  { target }: Lease,
  { os, segment, labels }: GrantedTarget,
): LeaseRendering['values']['target'] {
  return { name: target.name, host: target.host, port: target.port, os, segment, labels };
}

function notAmong(some: Record<string, unknown>, all: Record<string, unknown>): string | undefined {
  return Object.keys(some).find((name) => !Object.hasOwn(all, name) || !same(some[name], all[name]));
}

function differingKey(a: object, b: object): string | undefined {
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].find(
    (key) => !same((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]),
  );
}

function same(a: unknown, b: unknown): boolean {
  if (a === undefined || b === undefined) return a === b;
  return canonicalJson(a) === canonicalJson(b);
}
