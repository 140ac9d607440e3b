// What a policy file may contain. Leaving a rule out has the same effect as having no policy file.
import { machinePathPattern, stepTypes } from '@opsconductor/protocol';
import { signerClasses } from '@opsconductor/protocol/grants';
import {
  CredentialBoundsSchema,
  maxPolicyNameLength,
  policyNamePattern,
} from '@opsconductor/protocol/sealing';
import { type Static, Type } from 'typebox';

/** Ways to reach a target that let somebody on the network read along or pose as the host. */
const insecureTransports = ['ssh_legacy', 'winrm_http', 'winrm_basic', 'winrm_unverified'] as const;
export type InsecureTransport = (typeof insecureTransports)[number];

export const weekdays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
export type Weekday = (typeof weekdays)[number];

const closed = { additionalProperties: false } as const;
const Directory = Type.String({ minLength: 1, maxLength: 4096, pattern: machinePathPattern });
const list = { minItems: 1, maxItems: 256 } as const;

/** As credentials name it. */
const Name = Type.String({ minLength: 1, maxLength: maxPolicyNameLength, pattern: policyNamePattern });

const VariableName = Type.String({ maxLength: 256, pattern: '^[A-Za-z_][A-Za-z0-9_]*$' });
const bounds = CredentialBoundsSchema.properties;
const SourceSchema = Type.Object(
  {
    name: Name,
    file: Type.Optional(Directory),
    environment: Type.Optional(VariableName),
    /** The program by its path, and its arguments. No shell reads them. */
    command: Type.Optional(
      Type.Array(Type.String({ maxLength: 4_096, pattern: '^[^\\u0000]*$' }), { minItems: 1, maxItems: 64 }),
    ),
    /** The agent's variables that the command gets, besides PATH, HOME and the like. */
    pass_environment: Type.Optional(Type.Array(VariableName, list)),
    timeout_s: Type.Optional(Type.Integer({ minimum: 1, maximum: 60 })),
    keep_s: Type.Optional(Type.Integer({ minimum: 0, maximum: 3_600 })),
    /** Where the secret may be used, written like a credential's own bounds, which apply as well. */
    bounds: Type.Object(
      {
        hosts: Type.Optional(bounds.hosts),
        networks: Type.Optional(bounds.networks),
        ports: bounds.ports,
        user: bounds.user,
        protocols: Type.Optional(bounds.protocols),
        authentication: Type.Optional(bounds.authentication),
      },
      closed,
    ),
  },
  closed,
);

const WindowSchema = Type.Object(
  {
    days: Type.Optional(Type.Array(Type.Enum(weekdays), { minItems: 1, maxItems: 7 })),
    from: Type.String({ pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]$', description: 'as 08:00' }),
    to: Type.String({
      pattern: '^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$',
      description: 'as 18:00, 24:00 at most',
    }),
  },
  closed,
);

const SignerSchema = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 100 }),
    public_key: Type.String({
      pattern: '^[A-Za-z0-9+/]{43}=$',
      description: 'Ed25519, base64, as the signer’s command line prints it',
    }),
    /** How the private half may be kept; by default only `cli`. */
    classes: Type.Optional(Type.Array(Type.Enum(signerClasses), { minItems: 1, uniqueItems: true })),
  },
  closed,
);
/** The default for how long a grant may be valid at most, in hours. */
export const defaultMaxGrantHours = 24;
const RequireGrantSchema = Type.Object(
  {
    signers: Type.Array(SignerSchema, { minItems: 1, maxItems: 64 }),
    /** Accept only grants that name this agent: what another agent of the segment has run can't be replayed to it. */
    one_agent: Type.Optional(Type.Boolean()),
    max_hours: Type.Optional(Type.Integer({ minimum: 1, maximum: 24 * 366 })),
  },
  closed,
);

export const PolicySchema = Type.Object(
  {
    file_roots: Type.Optional(
      Type.Array(
        Type.Union([
          Directory,
          Type.Object({ path: Directory, access: Type.Optional(Type.Enum(['read', 'write'])) }, closed),
        ]),
        { maxItems: 100 },
      ),
    ),
    step_types: Type.Optional(Type.Array(Type.Enum(stepTypes), list)),
    targets: Type.Optional(
      Type.Object(
        {
          hosts: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 253 }), list)),
          networks: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 64 }), list)),
          ports: Type.Optional(Type.Array(Type.Integer({ minimum: 1, maximum: 65_535 }), list)),
        },
        { ...closed, minProperties: 1 },
      ),
    ),
    users: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 256 }), list)),
    become: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { maxItems: 256 })),
    hours: Type.Optional(
      Type.Object(
        {
          timezone: Type.String({ minLength: 1, maxLength: 64 }),
          windows: Type.Array(WindowSchema, { minItems: 1, maxItems: 64 }),
        },
        closed,
      ),
    ),
    ticket_caches: Type.Optional(
      Type.Array(
        Type.Object(
          {
            name: Name,
            path: Directory,
          },
          closed,
        ),
        { maxItems: 100 },
      ),
    ),
    sources: Type.Optional(Type.Array(SourceSchema, { maxItems: 256 })),
    parallelism: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })),
    raw_splices: Type.Optional(Type.Boolean()),
    survive_agent_restart: Type.Optional(Type.Boolean()),
    detect_secrets: Type.Optional(Type.Boolean()),
    require_grant: Type.Optional(RequireGrantSchema),
    insecure_transports: Type.Optional(
      Type.Array(Type.Enum(insecureTransports), { maxItems: insecureTransports.length }),
    ),
  },
  closed,
);
export type PolicyDocument = Static<typeof PolicySchema>;
export type SourceRule = Static<typeof SourceSchema>;
export type RequireGrant = NonNullable<PolicyDocument['require_grant']>;
export type Hours = NonNullable<PolicyDocument['hours']>;
