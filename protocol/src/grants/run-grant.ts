// What a signer allows one run to do: which version of which job, with which values, on which targets as they are reached
// now, by which agents, until when. One statement for each target, so that a lease carries no other target than its own.
import { type Static, Type } from 'typebox';
import { Closed, Id } from '../api/common.ts';
import { limits } from '../limits.ts';

/** How a signer's key is kept. An agent's policy says which it takes. */
export const signerClasses = ['cli', 'browser'] as const;
export type SignerClass = (typeof signerClasses)[number];

const Bytes32 = Type.String({ minLength: 44, maxLength: 44, pattern: '^[A-Za-z0-9+/]{43}=$' });
const Signature = Type.String({ minLength: 88, maxLength: 88, pattern: '^[A-Za-z0-9+/]{86}==$' });
const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$', description: 'Hex' });
const Instant = Type.String({
  pattern: '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$',
});

export const GrantedJobSchema = Closed({
  id: Id,
  version: Type.Integer({ minimum: 1 }),
  /** SHA-256 of the definition in its canonical spelling, as the job's version has it. */
  checksum: Sha256,
});
/** A secret value as it is sealed. */
export const GrantedSecretSchema = Closed({
  id: Type.String({ maxLength: 64 }),
  name: Type.String({ maxLength: 64 }),
  sha256: Sha256,
});
const GrantedCredentialSchema = Closed({
  id: Type.String({ maxLength: 64 }),
  version: Type.Integer({ minimum: 1 }),
  kind: Type.String({ maxLength: 64 }),
  sha256: Sha256,
});
/** How some steps reach their target, and what opens it. */
export const GrantedReachSchema = Closed({
  /** Numbers of the steps. */
  steps: Type.Array(Type.Integer({ minimum: 1, maximum: limits.maxStepsPerJob }), { minItems: 1 }),
  /** As in a lease, with SHA-256 in place of what is sealed. */
  target: Type.Object({ id: Id, name: Type.String(), host: Type.String(), port: Type.Integer() }),
  credential: GrantedCredentialSchema,
  /** Whom the command runs as, where that is not who logs in. */
  runAs: Type.Optional(GrantedCredentialSchema),
});
/** What is said of one target. */
export const GrantedTargetSchema = Closed({
  segmentId: Id,
  /** The one agent that may run it; any of the segment where it is left out. */
  agentId: Type.Optional(Id),
  /** What placeholders may tell of the target beside where it is. */
  os: Type.String(),
  segment: Type.String(),
  labels: Type.Record(Type.String(), Type.String()),
  secrets: Type.Array(GrantedSecretSchema, { maxItems: limits.maxParametersPerJob }),
  reaches: Type.Array(GrantedReachSchema, { minItems: 1, maxItems: limits.maxStepsPerJob }),
});
export type GrantedTarget = Static<typeof GrantedTargetSchema>;

/** What a server knows of a run before it is signed. */
const prepared = {
  installationId: Type.String({ minLength: 1, maxLength: 64 }),
  job: GrantedJobSchema,
  /** Name of the user who will start it; `run.created_by` of placeholders. */
  startedBy: Type.String({ maxLength: 256 }),
  /** All that are no secrets, with defaults. */
  parameters: Type.Record(Type.String(), Type.Unknown()),
};
/** What holds for all targets of the run. */
export const GrantTermsSchema = Closed({
  ...prepared,
  /** 32 random bytes: a step of a target begins once under them. */
  nonce: Bytes32,
  notBefore: Instant,
  expiresAt: Instant,
  /** Public key, Ed25519, base64; and how its private half is kept. */
  signer: Closed({ key: Bytes32, class: Type.Enum(signerClasses) }),
});
export type GrantTerms = Static<typeof GrantTermsSchema>;

/** As it travels: the exact JSON texts that were signed. */
export const SignedGrantSchema = Closed({
  terms: Type.String({ minLength: 2, maxLength: limits.maxParameterBytes + 8_192 }),
  targets: Type.Array(
    Closed({
      statement: Type.String({ minLength: 2, maxLength: limits.maxGrantedTargetLength }),
      signature: Signature,
    }),
    { minItems: 1, maxItems: limits.maxSignedTargets },
  ),
});
export type SignedGrant = Static<typeof SignedGrantSchema>;

/** What of it a lease carries, with the definition that the checksum is of. */
export const LeaseGrantSchema = Type.Object({
  terms: Type.String({ maxLength: limits.maxParameterBytes + 8_192 }),
  statement: Type.String({ maxLength: limits.maxGrantedTargetLength }),
  signature: Type.String({ maxLength: 88 }),
  /** In its canonical spelling. */
  definition: Type.String(),
  /** Number of the step. */
  step: Type.Integer({ minimum: 1, maximum: limits.maxStepsPerJob }),
});
export type LeaseGrant = Static<typeof LeaseGrantSchema>;

/** What a signer is shown and signs: all of it but the nonce, the times and the key, which are the signer's own. */
export const GrantDraftSchema = Type.Object({
  ...prepared,
  definition: Type.Unknown({ description: 'Of the version, as the checksum is of' }),
  targets: Type.Array(GrantedTargetSchema),
  /** What the run is started with beside the grant: the targets and values that are signed. */
  request: Type.Optional(Type.Unknown()),
});
export type GrantDraft = Static<typeof GrantDraftSchema>;
