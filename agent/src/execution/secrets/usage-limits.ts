// Checks the use of a credential against bounds: those sealed with it, and those that this machine's policy sets for
// the source that it names. The checks are the same, but each kind refuses in its own words.
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

/** What is outside the bounds. */
export interface Outside {
  field: keyof CredentialBounds;
  /** For example `host web.evil`. */
  what: string;
  allowed?: readonly string[];
  /** The refusal in the words of a credential's bounds. */
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

/** Checks all bounds except the networks, before any name is resolved. */
export function admitUnresolvedUse({ bounds, refuse }: UsageLimit, target: LeaseTarget, use: Use): void {
  admitUse({ bounds: { ...bounds, networks: [] }, refuse }, target, use, []);
}

/** Checks all bounds. */
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
        ? 'Leave out the user name in the connection settings, or seal the credential again with bounds that allow it.'
        : 'Check that the target is the intended one; if so, seal the credential again with wider bounds.',
  });
}

/**
 * Checks a jump host on the way. The jump host decides which machine answers behind it and is sent the password, so the
 * bounds have to include the jump host as well as the target.
 */
export function admitWay({ bounds, refuse }: UsageLimit, jump: LeaseJump['target'], use: Use): void {
  const { host, name, port } = jump;
  const networks = bounds.networks.includes('*') ? [] : bounds.networks;
  const addresses = isIP(host) === 0 ? [] : [host];
  const where = { ...bounds, networks, ports: [port] };
  const verdict = checkBounds(where, { host, addresses, port, protocol: 'ssh', ...use });
  // The connection through a jump host is SSH, whatever protocol the target speaks.
  if (verdict.ok) return;
  refuse({
    field: verdict.field,
    what: `the way through jump host “${name}” (${host})`,
    allowed: [bounds[verdict.field]].flat().map(String),
    message: `The way leads through jump host “${name}” (${host}), which is outside the credential's bounds: whatever answers behind it would be sent the password.`,
    advice:
      'Check that the jump host is the intended one; if so, seal the credential again with bounds that include it too (in networks by its IP address), or log in with a key, which is sent to nobody.',
  });
}

/** Refuses bounds that have networks: a jump host resolves the target's name, so its addresses can't be checked. */
export function admitUnknownAddress({ bounds, refuse }: UsageLimit, { host, name }: LeaseTarget): void {
  const { networks } = bounds;
  if (networks.length === 0 || networks.includes('*')) return;
  refuse({
    field: 'networks',
    what: `${host}, whose address a jump host looks up`,
    allowed: networks,
    message: `The credential is bound to networks, and “${name}” is behind a jump host, which resolves the name ${host} by itself.`,
    advice:
      'Give the target an IP address as its host, or seal the credential again with host patterns instead of networks.',
  });
}
