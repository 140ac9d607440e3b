// A credential version: the secret and its bounds, sealed to a segment. Console and CLI seal it, agents open it, and
// the server only carries it.
import { type Static, Type } from 'typebox';
import { boundsProblems, CredentialBoundsSchema, maxUserLength } from '../bounds/bounds.ts';
import { SealingError } from '../sealing-error.ts';
import { type Problem, problemsOf, refuseProblems } from '../shape.ts';
import { type EnvelopeContext, openEnvelope, type SealedEnvelope, sealEnvelope } from './envelope.ts';

/** Names used in a policy file and in credentials for things that exist only on an agent's machine. */
export const policyNamePattern = '^[a-z0-9][a-z0-9._-]*$';
export const maxPolicyNameLength = 64;

const User = Type.String({ minLength: 1, maxLength: maxUserLength });
/** A name from `sources` in the agent's policy file, which says where the secret is read. */
const SourceName = Type.String({ minLength: 1, maxLength: maxPolicyNameLength, pattern: policyNamePattern });
/** The password that sudo or su asks for on the target; a single line, because it is read as one. */
const BecomePassword = Type.String({ minLength: 1, maxLength: 1_024, pattern: '^[^\\u0000\\n\\r]*$' });

const SshPasswordSecretSchema = Type.Object(
  {
    kind: Type.Literal('ssh_password'),
    user: User,
    password: Type.String({ minLength: 1, maxLength: 4_096 }),
    becomePassword: Type.Optional(BecomePassword),
    bounds: CredentialBoundsSchema,
  },
  { additionalProperties: false },
);
const SshPrivateKeySecretSchema = Type.Object(
  {
    kind: Type.Literal('ssh_private_key'),
    user: User,
    /** Text of the key file: OpenSSH, PKCS #1, PKCS #8 or SEC 1 PEM. */
    privateKey: Type.String({ minLength: 1, maxLength: 32_768 }),
    passphrase: Type.Optional(Type.String({ minLength: 1, maxLength: 4_096 })),
    /** OpenSSH certificate for the key: the line of its `-cert.pub` file. */
    certificate: Type.Optional(
      Type.String({
        maxLength: 16_384,
        pattern: '^[a-z0-9-]+-cert-v01@openssh\\.com [A-Za-z0-9+/]+=*( [^\\n\\r]*)?$',
      }),
    ),
    becomePassword: Type.Optional(BecomePassword),
    bounds: CredentialBoundsSchema,
  },
  { additionalProperties: false },
);
const WinrmPasswordSecretSchema = Type.Object(
  {
    kind: Type.Literal('winrm_password'),
    /** `DOMAIN\\name`, `name@domain`, or the name of a local user of the host. */
    user: User,
    password: Type.String({ minLength: 1, maxLength: 4_096 }),
    bounds: CredentialBoundsSchema,
  },
  { additionalProperties: false },
);
const WinrmCertificateSecretSchema = Type.Object(
  {
    kind: Type.Literal('winrm_certificate'),
    /** The user that the host maps the certificate to, as bounds and policies see it. The host decides in the end. */
    user: User,
    /** PEM: the client's certificate, followed by those between it and its authority. */
    certificate: Type.String({
      minLength: 1,
      maxLength: 16_384,
      pattern: '^\\s*(-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\\s]+-----END CERTIFICATE-----\\s*)+$',
    }),
    /** PEM: PKCS #1, PKCS #8 or SEC 1. */
    privateKey: Type.String({
      minLength: 1,
      maxLength: 32_768,
      pattern: '^\\s*-----BEGIN [A-Z ]*PRIVATE KEY-----[^\\u0000]+-----END [A-Z ]*PRIVATE KEY-----\\s*$',
    }),
    passphrase: Type.Optional(Type.String({ minLength: 1, maxLength: 1_024 })),
    bounds: CredentialBoundsSchema,
  },
  { additionalProperties: false },
);
const WinrmKeytabSecretSchema = Type.Object(
  {
    kind: Type.Literal('winrm_keytab'),
    /** `name@REALM` or `REALM\\name`. */
    user: User,
    /** The file in base64: MIT's format, version 2, which begins with the bytes 5 and 2. */
    keytab: Type.String({ minLength: 8, maxLength: 32_768, pattern: '^BQI[A-Za-z0-9+/]+={0,2}$' }),
    bounds: CredentialBoundsSchema,
  },
  { additionalProperties: false },
);
const WinrmTicketCacheSecretSchema = Type.Object(
  {
    kind: Type.Literal('winrm_ticket_cache'),
    /** User whose tickets they must be: `name@REALM` or `REALM\\name`. */
    user: User,
    /** A name from `ticket_caches` in the agent's policy file, which says where they are. */
    cache: Type.String({ minLength: 1, maxLength: maxPolicyNameLength, pattern: policyNamePattern }),
    bounds: CredentialBoundsSchema,
  },
  { additionalProperties: false },
);
const SshPasswordSourceSecretSchema = Type.Object(
  {
    kind: Type.Literal('ssh_password_source'),
    user: User,
    source: SourceName,
    becomePassword: Type.Optional(BecomePassword),
    bounds: CredentialBoundsSchema,
  },
  { additionalProperties: false },
);
const SshKeySourceSecretSchema = Type.Object(
  {
    kind: Type.Literal('ssh_key_source'),
    user: User,
    source: SourceName,
    passphrase: Type.Optional(Type.String({ minLength: 1, maxLength: 4_096 })),
    becomePassword: Type.Optional(BecomePassword),
    bounds: CredentialBoundsSchema,
  },
  { additionalProperties: false },
);
const WinrmPasswordSourceSecretSchema = Type.Object(
  {
    kind: Type.Literal('winrm_password_source'),
    /** As for a WinRM password. */
    user: User,
    source: SourceName,
    bounds: CredentialBoundsSchema,
  },
  { additionalProperties: false },
);
const CredentialSecretSchema = Type.Union([
  SshPasswordSecretSchema,
  SshPrivateKeySecretSchema,
  WinrmPasswordSecretSchema,
  WinrmCertificateSecretSchema,
  WinrmKeytabSecretSchema,
  WinrmTicketCacheSecretSchema,
  SshPasswordSourceSecretSchema,
  SshKeySourceSecretSchema,
  WinrmPasswordSourceSecretSchema,
]);
export type CredentialSecret = Static<typeof CredentialSecretSchema>;
export type CredentialKind = CredentialSecret['kind'];

const kinds = {
  ssh_password: {
    schema: SshPasswordSecretSchema,
    protocol: 'ssh',
    authenticates: ['password', 'keyboard-interactive'],
  },
  ssh_private_key: { schema: SshPrivateKeySecretSchema, protocol: 'ssh', authenticates: ['publickey'] },
  winrm_password: {
    schema: WinrmPasswordSecretSchema,
    protocol: 'winrm',
    authenticates: ['ntlm', 'kerberos', 'basic', 'run_as'],
  },
  winrm_certificate: {
    schema: WinrmCertificateSecretSchema,
    protocol: 'winrm',
    authenticates: ['certificate'],
  },
  winrm_keytab: { schema: WinrmKeytabSecretSchema, protocol: 'winrm', authenticates: ['kerberos'] },
  winrm_ticket_cache: {
    schema: WinrmTicketCacheSecretSchema,
    protocol: 'winrm',
    authenticates: ['kerberos'],
  },
  ssh_password_source: {
    schema: SshPasswordSourceSecretSchema,
    protocol: 'ssh',
    authenticates: ['password', 'keyboard-interactive'],
  },
  ssh_key_source: { schema: SshKeySourceSecretSchema, protocol: 'ssh', authenticates: ['publickey'] },
  winrm_password_source: {
    schema: WinrmPasswordSourceSecretSchema,
    protocol: 'winrm',
    authenticates: ['ntlm', 'kerberos', 'basic', 'run_as'],
  },
} as const satisfies Record<CredentialKind, unknown>;

/** Whether this version knows the kind of credential. */
export function isCredentialKind(kind: unknown): kind is CredentialKind {
  return typeof kind === 'string' && Object.hasOwn(kinds, kind);
}

/** Identifies the sealed credential version. Opening requires the same values, so no row can stand in for another. */
export interface CredentialBinding {
  installationId: string;
  /** UUID, chosen by the client that seals. */
  credentialId: string;
  /** From 1. */
  version: number;
  kind: CredentialKind;
  segmentId: number;
  /** Generation of the segment key. */
  generation: number;
}

/** A sealed credential version, as JSON: `{ v: 1, generation, enc, wrappedKey, nonce, ciphertext }`. */
export type SealedCredential = SealedEnvelope;

/** Returns everything wrong with a secret and its bounds, each with its path. For forms; sealing checks it again. */
export function credentialProblems(secret: unknown): Problem[] {
  const { kind } = Object(secret) as { kind?: unknown };
  if (!isCredentialKind(kind)) {
    return [{ path: 'kind', message: `must be one of ${Object.keys(kinds).join(', ')}` }];
  }
  const { schema, protocol, authenticates } = kinds[kind];
  const shape = problemsOf(schema, secret);
  if (shape.length > 0) return shape;
  const { user, bounds } = secret as CredentialSecret;
  const problems = boundsProblems(bounds).map(({ path, message }) => ({ path: `bounds.${path}`, message }));
  if (bounds.user !== '*' && bounds.user !== user) {
    problems.push({ path: 'bounds.user', message: 'does not admit the user of this credential' });
  }
  if (!bounds.protocols.includes(protocol)) {
    problems.push({ path: 'bounds.protocols', message: `must have ${protocol} for ${kind}` });
  }
  if (!authenticates.some((method) => bounds.authentication.includes(method))) {
    problems.push({ path: 'bounds.authentication', message: `must have ${authenticates.join(' or ')}` });
  }
  return problems;
}

/**
 * Seals a credential version to a segment's public key, which must come from a verified roster.
 *
 * @throws {SealingError} `malformed` for a secret or bounds that `credentialProblems` rejects.
 */
export async function sealCredential(input: {
  segmentPublicKey: Uint8Array;
  binding: CredentialBinding;
  secret: CredentialSecret;
}): Promise<SealedCredential> {
  const { segmentPublicKey, binding, secret } = input;
  refuseProblems(credentialProblems(secret), 'Credential');
  if (secret.kind !== binding.kind) {
    throw new SealingError('malformed', `A ${secret.kind} cannot be sealed as ${binding.kind}`);
  }
  const plaintext = new TextEncoder().encode(JSON.stringify(secret));
  try {
    return await sealEnvelope(segmentPublicKey, context(binding), plaintext);
  } finally {
    plaintext.fill(0);
  }
}

/**
 * Opens a credential version. The caller must check its bounds (`checkBounds`) before each use.
 *
 * @throws {SealingError} `unopenable` for another segment key, another binding or altered bytes; `malformed` for contents
 * that are not a valid credential of the binding's kind.
 */
export async function openCredential(input: {
  segmentPrivateKey: Uint8Array;
  binding: CredentialBinding;
  sealed: SealedCredential;
}): Promise<CredentialSecret> {
  const { segmentPrivateKey, binding, sealed } = input;
  const plaintext = await openEnvelope(segmentPrivateKey, context(binding), sealed);
  const secret = readJson(plaintext);
  refuseProblems(credentialProblems(secret), 'Credential');
  const valid = secret as CredentialSecret;
  if (valid.kind !== binding.kind) {
    throw new SealingError('malformed', `The sealed credential is a ${valid.kind}, not a ${binding.kind}`);
  }
  return valid;
}

function readJson(plaintext: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(plaintext));
  } catch {
    // The parser's message would quote the secret, so it is not kept as the cause.
    throw new SealingError('malformed', 'The sealed credential is not JSON');
  } finally {
    plaintext.fill(0);
  }
}

function context(binding: CredentialBinding): EnvelopeContext {
  const { installationId, credentialId, version, kind, segmentId, generation } = binding;
  return {
    domain: 'credential',
    // UUIDs compare without case (RFC 9562); the database gives them back in lower case.
    fields: [installationId, credentialId.toLowerCase(), version, kind, segmentId],
    generation,
  };
}
