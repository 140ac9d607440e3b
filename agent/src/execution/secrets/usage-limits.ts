// Bounds that hold for a use: those that are sealed with a credential, and those that the policy of this machine has for the
// source that it names. All are the same bounds, and each is refused in its own words.
import { isIP } from 'node:net';
import type { LeaseJump, LeaseTarget } from '@opsconductor/protocol';
import {
  type BoundsAttempt,
  boundNouns,
  type CredentialBounds,
  checkBounds,
} from '@opsconductor/protocol/sealing';
import { SshError } from '../../ssh/ssh-error.ts';

export type Use = Pick<BoundsAttempt, 'user' | 'authentication'>;

/** What is outside. */
export interface Outside {
  field: keyof CredentialBounds;
  /** As `host web.evil`. */
  what: string;
  allowed?: readonly string[];
  /** In the words of a credential's bounds. */
  message: string;
  advice: string;
}

export interface UsageLimit {
  bounds: CredentialBounds;
  /** Throws an `SshError`. */
  refuse(outside: Outside): never;
}

export function credentialLimit(bounds: CredentialBounds): UsageLimit {
  return {
    bounds,
    refuse: ({ message, advice }) => {
      throw new SshError({ reason: 'credential_bounds', message, advice });
    },
  };
}

/** All bounds but the networks, before anything is resolved. */
export function admitUnresolvedUse({ bounds, refuse }: UsageLimit, target: LeaseTarget, use: Use): void {
  admitUse({ bounds: { ...bounds, networks: [] }, refuse }, target, use, []);
}

/** All bounds. */
export function admitUse(
  { bounds, refuse }: UsageLimit,
  target: LeaseTarget,
  use: Use,
  addresses: readonly string[],
): void {
  const { host, port, winrm } = target;
  const verdict = checkBounds(bounds, {
    host,
    addresses,
    port,
    protocol: winrm === undefined ? 'ssh' : 'winrm',
    ...use,
  });
  if (verdict.ok) return;
  const { field, found, message } = verdict;
  refuse({
    field,
    what: `${boundNouns[field]} ${found}`,
    allowed: [bounds[field]].flat().map(String),
    message,
    advice:
      field === 'user'
        ? 'Leave out the user name in the connection settings, or seal the credential anew with bounds that allow it.'
        : 'Check that the target is the intended one; if so, seal the credential anew with wider bounds.',
  });
}

/**
 * What answers behind a jump host is who the jump host says, and is told the password: so bounds hold where that leads
 * through, as they hold where it is used.
 */
export function admitWay({ bounds, refuse }: UsageLimit, jump: LeaseJump['target'], use: Use): void {
  const { host, name, port } = jump;
  const networks = bounds.networks.includes('*') ? [] : bounds.networks;
  const addresses = isIP(host) === 0 ? [] : [host];
  const where = { ...bounds, networks, ports: [port] };
  const verdict = checkBounds(where, { host, addresses, port, protocol: 'ssh', ...use });
  // The way is by SSH, whatever the target speaks behind it.
  if (verdict.ok) return;
  refuse({
    field: verdict.field,
    what: `the way through jump host “${name}” (${host})`,
    allowed: [bounds[verdict.field]].flat().map(String),
    message: `The way leads through jump host “${name}” (${host}), which is outside the credential's bounds: what answers behind it would be told the password.`,
    advice:
      'Check that the jump host is the intended one; if so, seal the credential anew with bounds that hold it too (in networks by its IP address), or log in by a key, which is told to nobody.',
  });
}

/** The name of what is behind a jump host is resolved there, so that its addresses can't be held to networks. */
export function admitUnknownAddress({ bounds, refuse }: UsageLimit, { host, name }: LeaseTarget): void {
  const { networks } = bounds;
  if (networks.length === 0 || networks.includes('*')) return;
  refuse({
    field: 'networks',
    what: `${host}, whose address a jump host looks up`,
    allowed: networks,
    message: `The credential is bound to networks, and “${name}” is behind a jump host, which resolves the name ${host} by itself.`,
    advice:
      'Give the target an IP address as its host, or seal the credential anew with host patterns in place of networks.',
  });
}
