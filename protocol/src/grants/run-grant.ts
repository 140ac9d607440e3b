// What a signer allows one run to do: which version of which job, with which values, on which targets as they are
// reached now, by which agents, until when. Each target has its own statement, so that a lease contains no target but
// its own.
import { type Static, type TSchema, Type } from 'typebox';
import type { LeaseJump, LeaseTarget } from '../agent/lease.ts';
import { Closed, Id } from '../api/schema-parts.ts';
import { limits } from '../limits.ts';

/** How a signer's key is kept. An agent's policy says which classes it accepts. */
export const signerClasses = ['cli', 'browser'] as const;
export type SignerClass = (typeof signerClasses)[number];

const Bytes32 = Type.String({ minLength: 44, maxLength: 44, pattern: '^[A-Za-z0-9+/]{43}=$' });
const Signature = Type.String({ minLength: 88, maxLength: 88, pattern: '^[A-Za-z0-9+/]{86}==$' });
const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$', description: 'Hex' });
const Instant = Type.String({
  pattern: '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$',
});

const GrantedJobSchema = Closed({
  id: Id,
  version: Type.Integer({ minimum: 1 }),
  /** SHA-256 of the definition in canonical JSON, as in the job's version. */
  checksum: Sha256,
});
/** A secret value in its sealed form. */
const GrantedSecretSchema = Closed({
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
/** Each field of a target in a lease is signed; their values are checked where the lease itself is. */
const place = {
  id: Id,
  name: Type.String(),
  host: Type.String(),
  port: Type.Integer(),
  hostKeys: Type.Optional(Type.Array(Type.String())),
  hostAuthorities: Type.Optional(Type.Array(Type.Object({ key: Type.String(), hosts: Type.String() }))),
  revokedHostKeys: Type.Optional(Type.Array(Type.String())),
  username: Type.Optional(Type.String()),
  connectTimeoutS: Type.Optional(Type.Integer()),
  keepaliveIntervalS: Type.Optional(Type.Integer()),
  algorithms: Type.Optional(Type.String()),
  maxConnections: Type.Optional(Type.Integer()),
} satisfies Record<keyof LeaseJump['target'], TSchema>;
const grantedTarget = {
  ...place,
  jumps: Type.Optional(
    Type.Array(Type.Object({ target: Type.Object(place), credential: GrantedCredentialSchema })),
  ),
  winrm: Type.Optional(
    Type.Object({
      transport: Type.String(),
      authentication: Type.String(),
      certificateCheck: Type.String(),
      principal: Type.Optional(Type.String()),
      ca: Type.Optional(Type.String()),
    }),
  ),
} satisfies Record<keyof LeaseTarget, TSchema>;
/** How some steps reach their target, and with which credential. */
const GrantedReachSchema = Closed({
  /** Numbers of the steps. */
  steps: Type.Array(Type.Integer({ minimum: 1, maximum: limits.maxStepsPerJob }), { minItems: 1 }),
  /** As in a lease, with SHA-256 instead of sealed parts. Open, because what is added to leases later is signed too. */
  target: Type.Object(grantedTarget),
  credential: GrantedCredentialSchema,
  /** Credential of the user that the command runs as, if that isn't the login user. */
  runAs: Type.Optional(GrantedCredentialSchema),
});
/** The part of a grant for one target. */
export const GrantedTargetSchema = Closed({
  segmentId: Id,
  /** The only agent that may run it; if omitted, any agent of the segment. */
  agentId: Type.Optional(Id),
  /** Further facts about the target that placeholders may use. */
  os: Type.String(),
  segment: Type.String(),
  labels: Type.Record(Type.String(), Type.String()),
  secrets: Type.Array(GrantedSecretSchema, { maxItems: limits.maxParametersPerJob }),
  reaches: Type.Array(GrantedReachSchema, { minItems: 1, maxItems: limits.maxStepsPerJob }),
});
export type GrantedTarget = Static<typeof GrantedTargetSchema>;

/** What a server knows about a run before it is signed. */
const prepared = {
  installationId: Type.String({ minLength: 1, maxLength: 64 }),
  job: GrantedJobSchema,
  /** Name of the user who will start the run; `run.created_by` in placeholders. */
  startedBy: Type.String({ maxLength: 256 }),
  /** All that are not secret, with defaults filled in. */
  parameters: Type.Record(Type.String(), Type.Unknown()),
};
/** The terms that apply to all targets of the run. */
export const GrantTermsSchema = Closed({
  ...prepared,
  /** 32 random bytes. With them, each step begins only once on each target. */
  nonce: Bytes32,
  notBefore: Instant,
  expiresAt: Instant,
  /** Ed25519 public key, base64, and how its private half is kept. */
  signer: Closed({ key: Bytes32, class: Type.Enum(signerClasses) }),
});
export type GrantTerms = Static<typeof GrantTermsSchema>;

/** A grant for transport: the exact JSON texts that were signed. */
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

/** The part of a grant in a lease, with the definition that the checksum covers. */
export const LeaseGrantSchema = Type.Object({
  terms: Type.String({ maxLength: limits.maxParameterBytes + 8_192 }),
  statement: Type.String({ maxLength: limits.maxGrantedTargetLength }),
  signature: Type.String({ maxLength: 88 }),
  /** In canonical JSON. */
  definition: Type.String(),
  /** Number of the step. */
  step: Type.Integer({ minimum: 1, maximum: limits.maxStepsPerJob }),
});
export type LeaseGrant = Static<typeof LeaseGrantSchema>;

/** What a signer is shown and signs: everything except the nonce, the times and the key, which come from the signer. */
export const GrantDraftSchema = Type.Object({
  ...prepared,
  definition: Type.Unknown({ description: 'The version’s definition, which the checksum covers' }),
  targets: Type.Array(GrantedTargetSchema),
  /** What the run has to be started with in addition to the grant: the signed targets and values. */
  request: Type.Optional(Type.Unknown()),
});
export type GrantDraft = Static<typeof GrantDraftSchema>;
