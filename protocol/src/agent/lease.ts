// A lease: a step as given to an agent, with everything needed to run it.

import { type Static, Type } from 'typebox';
import { SealedEnvelopeSchema } from '../api/agents/sealed-envelope.ts';
import { StepOutputsSchema } from '../api/jobs/parameters.ts';
import { Id } from '../api/schema-parts.ts';
import {
  sshAlgorithmPolicies,
  winrmAuthentications,
  winrmCertificateChecks,
  winrmTransports,
} from '../api/targets/connection-settings.ts';
import { LeaseGrantSchema } from '../grants/run-grant.ts';
import { limits } from '../limits.ts';
import { attempt, Epoch } from './message-parts.ts';
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
  /** Hosts that it may certify: an OpenSSH pattern list. */
  hosts: Type.String({ maxLength: 1_000 }),
});
export type HostAuthority = Static<typeof HostAuthoritySchema>;
export const hostTrust = {
  /** Ignored by older agents, which then refuse a host for which no key was accepted. */
  hostAuthorities: Type.Optional(
    Type.Array(HostAuthoritySchema, { maxItems: limits.maxHostAuthoritiesPerSegment }),
  ),
  /** Fingerprints that are refused, whatever else is accepted. */
  revokedHostKeys: Type.Optional(
    Type.Array(Type.String({ maxLength: 64 }), { maxItems: limits.maxRevokedHostKeysPerSegment }),
  ),
};
/** How to reach a target by WinRM. */
export const LeaseWinrmSchema = Type.Object({
  transport: Type.Enum(winrmTransports),
  authentication: Type.Enum(winrmAuthentications),
  certificateCheck: Type.Enum(winrmCertificateChecks),
  /** Service principal of the host, for Kerberos. */
  principal: Type.Optional(Type.String({ maxLength: 512 })),
  /** PEM certificates, used instead of the public authorities. */
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
  /** User to log in as instead of the credential's own; its bounds must allow that. */
  username: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
  /** How long to wait for one address to answer; by default the agent's own setting. */
  connectTimeoutS: Type.Optional(Type.Integer({ minimum: 1, maximum: 300 })),
  /** Time between probes on a silent connection; by default the agent's own setting. */
  keepaliveIntervalS: Type.Optional(Type.Integer({ minimum: 5, maximum: 600 })),
  /** SSH algorithms that may be used; by default only current ones. */
  algorithms: Type.Optional(Type.Enum(sshAlgorithmPolicies)),
  /** Maximum number of simultaneous SSH connections to it; by default the agent's own limit. */
  maxConnections: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.maxConnectionsPerTarget })),
};
/** A jump host, which is itself a target. */
export const LeaseJumpSchema = Type.Object({
  target: Type.Object(place),
  credential: LeaseCredentialSchema,
});
export type LeaseJump = Static<typeof LeaseJumpSchema>;
export const LeaseTargetSchema = Type.Object({
  ...place,
  /** Jump hosts on the way to it, in order. */
  jumps: Type.Optional(Type.Array(LeaseJumpSchema, { minItems: 1, maxItems: limits.maxJumpHosts })),
  /** Present if it is reached by WinRM instead of SSH. */
  winrm: Type.Optional(LeaseWinrmSchema),
});
export type LeaseTarget = Static<typeof LeaseTargetSchema>;
/** A secret value that the agent opens: a parameter, or an output of an earlier step. */
export const LeaseSecretSchema = Type.Object({
  /** Id of the step that handed it on; missing for a parameter. */
  step: Type.Optional(Type.String({ maxLength: 64 })),
  name: Type.String({ maxLength: 64 }),
  /** What it was sealed for, in addition to its name. */
  id: Type.String({ maxLength: 64 }),
  sealed: SealedEnvelopeSchema,
});
export type LeaseSecret = Static<typeof LeaseSecretSchema>;
/**
 * The data for rendering a step. Only present if the step has placeholders, a condition or outputs, or its run has
 * secrets; an agent that would ignore it is never given such a step.
 */
export const LeaseRenderingSchema = Type.Object({
  values: StepValuesSchema,
  secrets: Type.Array(LeaseSecretSchema, { maxItems: limits.maxSecretsPerLease }),
  /** What is known about the things it may refer to: the job's declared parameters, and outputs of earlier steps. */
  scope: Type.Object({
    /** Position of the step in its job, such as `steps[2]`. */
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
  /** The name by which later steps refer to this one; missing if they can't. */
  step: Type.Optional(Type.String({ maxLength: 64 })),
  outputs: Type.Optional(StepOutputsSchema),
});
export type LeaseRendering = Static<typeof LeaseRenderingSchema>;
export const LeaseSchema = Type.Object({
  ...attempt,
  runId: Id,
  stepType: Type.String({ maxLength: 64 }),
  /** Also validated on the agent with the step type's schema, once it is rendered. */
  config: Type.Unknown(),
  target: LeaseTargetSchema,
  credential: LeaseCredentialSchema,
  /** The user that its command runs as, if its configuration names a credential for that. */
  runAs: Type.Optional(LeaseCredentialSchema),
  rendering: Type.Optional(LeaseRenderingSchema),
  /** Also masks text in the form of a secret in its output, not only known secrets. */
  detectSecrets: Type.Optional(Type.Boolean()),
  /** Present if the run was signed: an agent whose owner requires that checks everything else against it. */
  grant: Type.Optional(LeaseGrantSchema),
  /**
   * Present if it was leased ahead of its turn: it may begin only after this attempt has succeeded, or was skipped, on
   * the same agent. Sent to agents with the capability `leases_ahead`.
   */
  after: Type.Optional(Type.Object({ step: Id, epoch: Epoch })),
});
export type Lease = Static<typeof LeaseSchema>;
/** Steps leased to this session. The server sends them unasked, up to the number of free slots. */
