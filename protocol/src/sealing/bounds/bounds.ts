// Where a credential may be used. Bounds are sealed together with the secret, so that changing the database can't widen
// them; the agent checks them after resolving the target and before authenticating.
import { type Static, Type } from 'typebox';
import { type Problem, problemsOf } from '../shape.ts';
import { hostPatternProblem, matchesHost } from './host-pattern.ts';
import { type IpNetwork, networkContains, parseAddress, parseNetwork } from './ip-address.ts';

export const boundProtocols = ['ssh', 'winrm'] as const;
export type BoundProtocol = (typeof boundProtocols)[number];
/** SSH authentication methods by their names in RFC 4252 and RFC 4256; then those of WinRM. */
export const boundAuthentications = [
  'password',
  'publickey',
  'keyboard-interactive',
  'ntlm',
  'kerberos',
  'basic',
  'certificate',
  /** For credentials whose password is given to the host, which runs a command as their user. */
  'run_as',
] as const;
export type BoundAuthentication = (typeof boundAuthentications)[number];

export const maxUserLength = 256;
/** Allows anything, if it is the whole of a host pattern, a network or the user. */
const any = '*';

export const CredentialBoundsSchema = Type.Object(
  {
    /** Host patterns (rules: `hostPatternProblem`); unless empty, the target's host must match one. */
    hosts: Type.Array(Type.String({ minLength: 1, maxLength: 253 }), { maxItems: 256 }),
    /** CIDR networks, or `*`; unless empty, every address that would be dialed must be in one. */
    networks: Type.Array(Type.String({ minLength: 1, maxLength: 64 }), { maxItems: 256 }),
    ports: Type.Array(Type.Integer({ minimum: 1, maximum: 65_535 }), { minItems: 1, maxItems: 64 }),
    protocols: Type.Array(Type.Enum(boundProtocols), { minItems: 1, maxItems: boundProtocols.length }),
    /** The exact user name to log in as, or `*`. */
    user: Type.String({ minLength: 1, maxLength: maxUserLength }),
    authentication: Type.Array(Type.Enum(boundAuthentications), {
      minItems: 1,
      maxItems: boundAuthentications.length,
    }),
  },
  { additionalProperties: false },
);
export type CredentialBounds = Static<typeof CredentialBoundsSchema>;

/** Returns everything wrong with bounds, each with its path (`networks[2]`); empty if they are valid. */
export function boundsProblems(bounds: unknown): Problem[] {
  const shape = problemsOf(CredentialBoundsSchema, bounds);
  if (shape.length > 0) return shape;
  const { hosts, networks } = bounds as CredentialBounds;
  if (hosts.length === 0 && networks.length === 0) {
    return [{ path: 'hosts', message: `must not be empty if networks is; write ${any} to allow any host` }];
  }
  return [
    ...hosts.flatMap((pattern, at) => problem(`hosts[${at}]`, hostPatternProblem(pattern))),
    ...networks.flatMap((text, at) => problem(`networks[${at}]`, networkProblem(text))),
  ];
}

/** A use of a credential that is about to happen. */
export interface BoundsAttempt {
  /** The host as configured for the target, not what it resolves to. */
  host: string;
  /** Every address that would be dialed, as resolved. */
  addresses: readonly string[];
  port: number;
  protocol: BoundProtocol;
  user: string;
  authentication: BoundAuthentication;
}

export type BoundsVerdict =
  | { ok: true }
  | {
      ok: false;
      /** The first bound that doesn't allow the attempt. */
      field: keyof CredentialBounds;
      found: string;
      allowed: string;
      /** One sentence for a person. */
      message: string;
    };

/**
 * Whether a credential may be used for an attempt. Every bound must allow it: unless `hosts` is empty, the host must
 * match a pattern, and unless `networks` is empty, every address must be in a network; if both are given, both must
 * hold. An IPv4-mapped address counts as its IPv4 address. Having no address, or an unreadable one, never counts as in
 * a network.
 *
 * @param bounds valid bounds, as in an opened credential.
 */
export function checkBounds(bounds: CredentialBounds, attempt: BoundsAttempt): BoundsVerdict {
  const { hosts, networks, ports, protocols, user, authentication } = bounds;
  if (!protocols.includes(attempt.protocol)) return refuse('protocols', attempt.protocol, protocols);
  if (!authentication.includes(attempt.authentication)) {
    return refuse('authentication', attempt.authentication, authentication);
  }
  if (user !== any && user !== attempt.user) return refuse('user', attempt.user, [user]);
  if (!ports.includes(attempt.port)) return refuse('ports', String(attempt.port), ports.map(String));
  if (hosts.length > 0 && !hosts.some((pattern) => matchesHost(pattern, attempt.host))) {
    return refuse('hosts', attempt.host, hosts);
  }
  if (networks.length > 0) {
    if (attempt.addresses.length === 0) return refuse('networks', 'no address', networks);
    const outside = firstOutside(networks, attempt.addresses);
    if (outside !== undefined) return refuse('networks', outside, networks);
  }
  return { ok: true };
}

function firstOutside(networks: readonly string[], addresses: readonly string[]): string | undefined {
  if (networks.includes(any)) return undefined;
  const read = networks
    .map(parseNetwork)
    .filter((network): network is IpNetwork => typeof network !== 'string');
  return addresses.find((text) => {
    const address = parseAddress(text);
    return address === undefined || !read.some((network) => networkContains(network, address));
  });
}

/** What each bound is about, in words. */
export const boundNouns: Record<keyof CredentialBounds, string> = {
  hosts: 'host',
  networks: 'address',
  ports: 'port',
  protocols: 'protocol',
  user: 'user',
  authentication: 'authentication',
};

function refuse(field: keyof CredentialBounds, found: string, admitted: readonly string[]): BoundsVerdict {
  const shown = admitted.slice(0, 8).join(', ');
  const allowed = admitted.length > 8 ? `${shown} and ${admitted.length - 8} more` : shown;
  const message = `The credential may not be used for ${boundNouns[field]} ${found}; its bounds allow ${allowed}.`;
  return { ok: false, field, found, allowed, message };
}

function networkProblem(text: string): string | undefined {
  const network = text === any ? undefined : parseNetwork(text);
  return typeof network === 'string' ? network : undefined;
}

function problem(path: string, message: string | undefined): Problem[] {
  return message === undefined ? [] : [{ path, message }];
}
