// Connection settings: how a target is reached, and as which user. Every place that may give one uses the same names,
// and the most specific place wins: step, job, target, target group, segment, built-in default.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { maxUserLength } from '../../sealing/bounds/bounds.ts';
import { Changes, Closed, Id, Nullable } from '../schema-parts.ts';
import { DisplayName, targetNamePattern } from '../text.ts';

export const connectionProtocols = ['ssh', 'winrm'] as const;
export type ConnectionProtocol = (typeof connectionProtocols)[number];

const protocol = Type.Enum(connectionProtocols, { description: 'Protocol for reaching the target' });
const port = Type.Integer({ minimum: 1, maximum: 65_535 });
const username = Type.String({
  minLength: 1,
  maxLength: maxUserLength,
  pattern: '^[^\\s\\u0000-\\u001f\\u007f-\\u009f]+$',
  description: 'User to log in as, if not the credential’s own; the credential’s sealed bounds must allow it',
});
const connect_timeout = Type.Integer({
  minimum: 1,
  maximum: 300,
  description: 'How long to wait for one address to answer, in seconds',
});
const keepalive_interval = Type.Integer({
  minimum: 5,
  maximum: 600,
  description: 'Time between probes on a silent connection, in seconds; three unanswered ones end it',
});

export const sshAlgorithmPolicies = ['current', 'legacy'] as const;
export type SshAlgorithmPolicy = (typeof sshAlgorithmPolicies)[number];

/** Only for SSH. */
const ssh = {
  jump_hosts: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 100, pattern: targetNamePattern }), {
      maxItems: limits.maxJumpHosts,
      uniqueItems: true,
      description:
        'Names of targets in the same segment through which the connection goes, in order; an empty list for none. Each uses its own credential and its own host keys',
    }),
  ),
  ssh_algorithms: Type.Optional(
    Type.Enum(sshAlgorithmPolicies, {
      description:
        'current, or legacy, which also accepts the breakable algorithms of old devices: SHA-1, CBC, 3DES, DSA, 1024-bit groups',
    }),
  ),
  max_connections: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: limits.maxConnectionsPerTarget,
      description: 'Greatest number of SSH connections that an agent holds to the target at the same time',
    }),
  ),
};

export const winrmTransports = ['https', 'http'] as const;
export type WinrmTransport = (typeof winrmTransports)[number];
export const winrmAuthentications = ['ntlm', 'kerberos', 'basic'] as const;
export type WinrmAuthentication = (typeof winrmAuthentications)[number];
export const winrmCertificateChecks = ['verify', 'skip'] as const;
export type WinrmCertificateCheck = (typeof winrmCertificateChecks)[number];

/** Only for WinRM. */
const winrm = {
  winrm_transport: Type.Optional(
    Type.Enum(winrmTransports, {
      description: 'HTTPS, or HTTP with every message sealed with the keys of the login',
    }),
  ),
  winrm_authentication: Type.Optional(
    Type.Enum(winrmAuthentications, { description: 'How the user authenticates; Basic requires HTTPS' }),
  ),
  winrm_principal: Type.Optional(
    Type.String({
      maxLength: 512,
      pattern: '^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+(@[A-Za-z0-9._-]+)?$',
      description:
        'Service principal of the host for Kerberos, `HTTP/name@REALM`, if it is not registered under the target’s host',
    }),
  ),
  winrm_certificate_check: Type.Optional(
    Type.Enum(winrmCertificateChecks, {
      description:
        'Whether the host’s certificate is verified. Only agents that were started to allow it skip this; then anyone in between can read along',
    }),
  ),
  winrm_ca: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 32_768,
      pattern: '^\\s*(-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\\s]+-----END CERTIFICATE-----\\s*)+$',
      description: 'PEM certificates to verify the host’s certificate with, instead of the public ones',
    }),
  ),
};

/** A target's own settings, apart from port and credential. */
export const TargetSettingsSchema = Closed({
  protocol: Type.Optional(protocol),
  username: Type.Optional(username),
  connect_timeout: Type.Optional(connect_timeout),
  keepalive_interval: Type.Optional(keepalive_interval),
  ...ssh,
  ...winrm,
});
export type TargetSettings = Static<typeof TargetSettingsSchema>;

/** What a target group or a segment gives to its targets, apart from a credential. */
export const InheritedSettingsSchema = Closed({
  ...TargetSettingsSchema.properties,
  port: Type.Optional(port),
});
export type InheritedSettings = Static<typeof InheritedSettingsSchema>;

const segmentSettings = {
  settings: InheritedSettingsSchema,
  /** For targets that get none from anything more specific; `null` for none. */
  credentialId: Nullable(Type.String({ format: 'uuid' })),
};
/** Omitted fields stay as they are. */
export const PutSegmentSettingsRequestSchema = Changes({
  settings: Type.Optional(segmentSettings.settings),
  credentialId: Type.Optional(segmentSettings.credentialId),
});
export type PutSegmentSettingsRequest = Static<typeof PutSegmentSettingsRequestSchema>;
export const SegmentSettingsSchema = Type.Object({
  ...segmentSettings,
  credentialName: Nullable(Type.String()),
});
export type SegmentSettings = Static<typeof SegmentSettingsSchema>;

/** Connection settings of a job or one of its steps. */
export const JobConnectionSchema = Closed({
  /** Looked up by name in the segment of each target. */
  credential: Type.Optional(DisplayName()),
  username: Type.Optional(username),
  connect_timeout: Type.Optional(connect_timeout),
  keepalive_interval: Type.Optional(keepalive_interval),
});
export type JobConnection = Static<typeof JobConnectionSchema>;

export const settingNames = [
  'protocol',
  'winrm_transport',
  'port',
  'username',
  'connect_timeout',
  'keepalive_interval',
  'jump_hosts',
  'ssh_algorithms',
  'max_connections',
  'winrm_authentication',
  'winrm_principal',
  'winrm_certificate_check',
  'winrm_ca',
  'credential',
] as const;
export type SettingName = (typeof settingNames)[number];

export const defaultPorts = { ssh: 22, winrm: 5986 } as const satisfies Record<ConnectionProtocol, number>;
/** Default port of WinRM over HTTP. */
export const defaultWinrmHttpPort = 5985;

/** Built-in defaults of WinRM. */
export const defaultWinrm = {
  transport: 'https',
  authentication: 'ntlm',
  certificateCheck: 'verify',
} as const;

/** Returns the port of a target for which nothing sets one. */
export function builtInPort({ protocol, winrm_transport }: TargetSettings): number {
  if (protocol !== 'winrm') return defaultPorts.ssh;
  return winrm_transport === 'http' ? defaultWinrmHttpPort : defaultPorts.winrm;
}
/** Built-in defaults, in seconds. */
export const defaultConnectTimeoutS = 10;
export const defaultKeepaliveIntervalS = 15;
export const defaultSshAlgorithms: SshAlgorithmPolicy = 'current';
export const defaultMaxConnections = 8;

export const settingSources = ['step', 'job', 'target', 'group', 'segment', 'default'] as const;
const SettingValue = Nullable(Type.Union([Type.String(), Type.Integer()]));
const SettingSource = Type.Object({
  kind: Type.Enum(settingSources),
  /** Id of the job, target, group or segment, or the number of the step. `null` for a built-in default. */
  id: Nullable(Id),
  name: Type.String(),
});
/** A setting as it applies to a target: where it comes from, and which other values it overrides. */
export const EffectiveSettingSchema = Type.Object({
  name: Type.Enum(settingNames),
  /**
   * For `credential` its id; for `username` `null` if it is the credential's own user; for `jump_hosts` the names, with
   * commas.
   */
  value: SettingValue,
  /** The value for people: a credential's name, or `from the credential`. */
  display: Type.String(),
  source: SettingSource,
  /** Other values that were given, most specific first. */
  overridden: Type.Array(Type.Object({ value: SettingValue, display: Type.String(), source: SettingSource })),
  /** Why the value can't be used, if so: for example, the segment has no such credential. */
  problem: Nullable(Type.String()),
});
export type EffectiveSetting = Static<typeof EffectiveSettingSchema>;
export const EffectiveSettingsSchema = Type.Object({
  targetId: Id,
  jobId: Nullable(Id),
  stepNumber: Nullable(Type.Integer()),
  settings: Type.Array(EffectiveSettingSchema),
});
export type EffectiveSettings = Static<typeof EffectiveSettingsSchema>;
export const EffectiveSettingsQuerySchema = Closed({
  job: Type.Optional(Id),
  /** Number of one of the job's steps; by default the first. */
  step: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
});
