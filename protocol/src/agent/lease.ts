// A lease: a step as an agent is given it, with all that it takes to run it.
import { type Static, Type } from 'typebox';
import { SealedEnvelopeSchema } from '../api/agents/sealed-envelope.ts';
import { StepOutputsSchema } from '../api/jobs/parameters.ts';
import {
  sshAlgorithmPolicies,
  winrmAuthentications,
  winrmCertificateChecks,
  winrmTransports,
} from '../api/targets/connection-settings.ts';
import { LeaseGrantSchema } from '../grants/run-grant.ts';
import { limits } from '../limits.ts';
import { attempt, Id } from './message-parts.ts';
import { StepValuesSchema } from './step-values.ts';

export const SealedCredentialSchema = SealedEnvelopeSchema;
export const LeaseCredentialSchema = Type.Object({
  id: Type.String({ maxLength: 64 }),
  version: Type.Integer({ minimum: 1 }),
  kind: Type.String({ maxLength: 64 }),
  sealed: SealedCredentialSchema,
});
export type LeaseCredential = Static<typeof LeaseCredentialSchema>;
/** A certificate authority whose host certificates are accepted. */
export const HostAuthoritySchema = Type.Object({
  /** OpenSSH public key line. */
  key: Type.String({ maxLength: 16_384 }),
  /** Hosts that it may speak for: an OpenSSH pattern list. */
  hosts: Type.String({ maxLength: 1_000 }),
});
export type HostAuthority = Static<typeof HostAuthoritySchema>;
export const hostTrust = {
  /** An older agent leaves them out, and refuses a host for which no key was accepted. */
  hostAuthorities: Type.Optional(
    Type.Array(HostAuthoritySchema, { maxItems: limits.maxHostAuthoritiesPerSegment }),
  ),
  /** Fingerprints that are refused, whatever else is accepted. */
  revokedHostKeys: Type.Optional(
    Type.Array(Type.String({ maxLength: 64 }), { maxItems: limits.maxRevokedHostKeysPerSegment }),
  ),
};
/** How a target is reached that speaks WinRM. */
export const LeaseWinrmSchema = Type.Object({
  transport: Type.Enum(winrmTransports),
  authentication: Type.Enum(winrmAuthentications),
  certificateCheck: Type.Enum(winrmCertificateChecks),
  /** Of the host, for Kerberos. */
  principal: Type.Optional(Type.String({ maxLength: 512 })),
  /** PEM, instead of the public ones. */
  ca: Type.Optional(Type.String({ maxLength: 32_768 })),
});
export type LeaseWinrm = Static<typeof LeaseWinrmSchema>;
const place = {
  id: Id,
  name: Type.String(),
  host: Type.String(),
  port: Type.Integer({ minimum: 1, maximum: 65_535 }),
  hostKeys: Type.Array(Type.String({ maxLength: 16_384 }), { maxItems: 16 }),
  ...hostTrust,
  /** Whom to log in as instead of the credential's own user; its bounds must allow that. */
  username: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
  /** For one address to answer; the agent's own unless told. */
  connectTimeoutS: Type.Optional(Type.Integer({ minimum: 1, maximum: 300 })),
  /** Between probes on a silent connection; the agent's own unless told. */
  keepaliveIntervalS: Type.Optional(Type.Integer({ minimum: 5, maximum: 600 })),
  /** Which algorithms of SSH it may be reached with; current ones unless told. */
  algorithms: Type.Optional(Type.Enum(sshAlgorithmPolicies)),
  /** SSH connections to it at the same time; the agent's own bound unless told. */
  maxConnections: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.maxConnectionsPerTarget })),
};
/** An SSH server on the way to a target: a target itself. */
export const LeaseJumpSchema = Type.Object({
  target: Type.Object(place),
  credential: LeaseCredentialSchema,
});
export type LeaseJump = Static<typeof LeaseJumpSchema>;
export const LeaseTargetSchema = Type.Object({
  ...place,
  /** What the way leads through, the first one first. */
  jumps: Type.Optional(Type.Array(LeaseJumpSchema, { minItems: 1, maxItems: limits.maxJumpHosts })),
  /** Where it is not reached by SSH. */
  winrm: Type.Optional(LeaseWinrmSchema),
});
export type LeaseTarget = Static<typeof LeaseTargetSchema>;
/** A secret value that the agent opens: of a parameter, or of an output of an earlier step. */
export const LeaseSecretSchema = Type.Object({
  /** Id of the step that handed it on; left out for a parameter. */
  step: Type.Optional(Type.String({ maxLength: 64 })),
  name: Type.String({ maxLength: 64 }),
  /** What it was sealed for, beside its name. */
  id: Type.String({ maxLength: 64 }),
  sealed: SealedEnvelopeSchema,
});
export type LeaseSecret = Static<typeof LeaseSecretSchema>;
/**
 * What a step is rendered with. Only where it has placeholders, a condition or outputs, or where its run has secrets; an
 * agent that would pass it over is not given such a step.
 */
export const LeaseRenderingSchema = Type.Object({
  values: StepValuesSchema,
  secrets: Type.Array(LeaseSecretSchema, { maxItems: limits.maxSecretsPerLease }),
  /** What is known of what it may refer to: the job's parameters as they are declared, outputs of the steps before it. */
  scope: Type.Object({
    /** Where the step is in its job: `steps[2]`. */
    path: Type.String({ maxLength: 64 }),
    parameters: Type.Record(Type.String(), Type.Unknown()),
    steps: Type.Record(
      Type.String(),
      Type.Object({
        outputs: Type.Record(
          Type.String(),
          Type.Object({
            secret: Type.Optional(Type.Boolean()),
            allow_leading_dash: Type.Optional(Type.Boolean()),
            mayBeAbsent: Type.Optional(Type.Boolean()),
          }),
        ),
      }),
    ),
  }),
  when: Type.Optional(Type.String({ maxLength: limits.maxExpressionLength })),
  /** What later steps call this one by; left out where they can't. */
  step: Type.Optional(Type.String({ maxLength: 64 })),
  outputs: Type.Optional(StepOutputsSchema),
});
export type LeaseRendering = Static<typeof LeaseRenderingSchema>;
export const LeaseSchema = Type.Object({
  ...attempt,
  runId: Id,
  stepType: Type.String({ maxLength: 64 }),
  /** Validated by the step type's own schema on the agent too, once it is rendered. */
  config: Type.Unknown(),
  target: LeaseTargetSchema,
  credential: LeaseCredentialSchema,
  /** Whom its command runs as, where its configuration names a credential for that. */
  runAs: Type.Optional(LeaseCredentialSchema),
  rendering: Type.Optional(LeaseRenderingSchema),
  /** What has the form of a secret is masked in its output, and not only what is known to be one. */
  detectSecrets: Type.Optional(Type.Boolean()),
  /** Where the run was signed: an agent whose owner asks for it holds all the rest to it. */
  grant: Type.Optional(LeaseGrantSchema),
});
export type Lease = Static<typeof LeaseSchema>;
/** Steps leased to this session; the server sends them unasked, up to the agent's free slots. */
