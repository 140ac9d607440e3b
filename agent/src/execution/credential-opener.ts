// Opens sealed credentials with the segment key and holds them to their bounds. An opened credential is kept for a
// while: a run on many targets opens the same one for each, and opening takes milliseconds.
import { isIP } from 'node:net';
import type { Lease, LeaseCredential, LeaseJump, LeaseTarget } from '@opsconductor/protocol';
import {
  type BoundAuthentication,
  type BoundsAttempt,
  type CredentialBinding,
  type CredentialBounds,
  type CredentialSecret,
  checkBounds,
  isCredentialKind,
  openCredential,
  type SealedCredential,
  SealingError,
} from '@opsconductor/protocol/sealing';
import type { PolicyGuard } from '../policy/policy-guard.ts';
import { type Pattern, PatternSet } from '../spool/pattern-set.ts';
import { secretPatterns } from '../spool/secret-patterns.ts';
import { jumpHostFailed } from '../ssh/jump-hosts.ts';
import { SshError } from '../ssh/ssh-error.ts';
import type { JumpHost, OpenedCredential, RunAs, StepTarget } from '../steps/step-type.ts';

const maxKept = 64;
const keptMs = 300_000;

export interface UsableCredential {
  credential: OpenedCredential;
  /** The target, with what opens the jump hosts on the way to it. */
  target: StepTarget;
  /** Whom the command of a step runs as on a Windows host, other than who logs in. */
  runAs?: RunAs;
  /** What to mask in output while it is used. */
  secrets: PatternSet;
  /** Throws an `SshError` for addresses outside the credential's bounds, or outside the policy of this machine. */
  checkAddresses(addresses: readonly string[]): void;
}

/** This agent has no key for the credential's generation; another agent of the segment may have. */
export class NoSegmentKey extends Error {
  override readonly name = 'NoSegmentKey';
}

export type OpenForTarget = (credential: LeaseCredential, target: LeaseTarget) => Promise<UsableCredential>;

export interface CredentialOpenerOptions {
  installationId: string;
  segmentId: number;
  segmentPrivateKey(generation: number): Uint8Array | undefined;
  monotonicMs(): number;
  policy: Pick<PolicyGuard, 'checkTarget' | 'checkAddresses' | 'checkUser' | 'checkBecome'>;
}

type Use = Pick<BoundsAttempt, 'user' | 'authentication'>;

interface Kept {
  sealed: SealedCredential;
  secret: CredentialSecret;
  secrets: PatternSet;
  untilMs: number;
}

export class CredentialOpener {
  readonly #options: CredentialOpenerOptions;
  readonly #kept = new Map<string, Kept>();
  readonly #opening = new Map<string, Promise<Kept>>();

  constructor(options: CredentialOpenerOptions) {
    this.#options = options;
  }

  /**
   * Opens a credential for one target, where the policy of this machine allows both. All bounds but the networks are checked here; those when the target's name
   * was resolved, by `checkAddresses`. A target that names a user is logged in to as that user, where the bounds
   * allow it.
   *
   * @throws {NoSegmentKey} @throws {SshError} `credential_unusable`, `credential_bounds`, `policy_refused`.
   */
  async open(
    credential: LeaseCredential,
    target: LeaseTarget,
    runAs?: LeaseCredential,
  ): Promise<UsableCredential> {
    const own = await this.#openOne(credential, target, target.jumps ?? []);
    const way = await this.openWay(target);
    const other = runAs === undefined ? undefined : await this.#openRunAs(runAs, target, own);
    const patterns = [...way.patterns, ...(other?.patterns ?? [])];
    return { ...own, ...other?.usable, target: way.target, secrets: own.secrets.with(patterns) };
  }

  /** The host is told its password: its bounds must say so, and hold where the host is. */
  async #openRunAs(
    credential: LeaseCredential,
    target: LeaseTarget,
    own: Pick<UsableCredential, 'checkAddresses'>,
  ): Promise<{ usable: Pick<UsableCredential, 'runAs' | 'checkAddresses'>; patterns: Pattern[] }> {
    const { secret, secrets } = await this.#secretOf(credential);
    if (secret.kind !== 'winrm_password') {
      throw unusable(
        'The credential that the command is to run as is none of kind WinRM password.',
        'Name another one in run_as_credential of the step.',
      );
    }
    const { user, password, bounds } = secret;
    this.#options.policy.checkBecome({ user }, target);
    const use: Use = { user, authentication: 'run_as' };
    this.#admit({ ...bounds, networks: [] }, target, use, []);
    return {
      patterns: [...secrets.patterns],
      usable: {
        runAs: { user, password },
        checkAddresses: (addresses) => {
          own.checkAddresses(addresses);
          this.#admit(bounds, target, use, addresses);
        },
      },
    };
  }

  /** Opens what the way to a target leads through, and says what to mask of it. Throws like `open`. */
  async openWay({
    jumps: sealed = [],
    ...place
  }: LeaseTarget): Promise<{ target: StepTarget; patterns: Pattern[] }> {
    const jumps: JumpHost[] = [];
    const patterns: Pattern[] = [];
    for (const [at, jump] of sealed.entries()) {
      try {
        const way = sealed.slice(0, at);
        const { secrets, ...opened } = await this.#openOne(jump.credential, jump.target, way);
        jumps.push({ target: jump.target, ...opened });
        patterns.push(...secrets.patterns);
      } catch (error) {
        throw jumpHostFailed(jump.target, place, error);
      }
    }
    return { target: jumps.length === 0 ? place : { ...place, jumps }, patterns };
  }

  async #openOne(
    credential: LeaseCredential,
    target: LeaseTarget,
    way: readonly LeaseJump[],
  ): Promise<Omit<UsableCredential, 'target'>> {
    const { policy } = this.#options;
    policy.checkTarget(target);
    const { secret, secrets } = await this.#secretOf(credential);
    const { bounds } = secret;
    policy.checkUser(userOf(target, secret), target);
    const use: Use = {
      user: userOf(target, secret),
      authentication: authenticationOf(secret, target.winrm),
    };
    this.#admit({ ...bounds, networks: [] }, target, use, []);
    if (tellsPassword(secret)) for (const jump of way) this.#admitWay(bounds, jump.target, use);
    return {
      credential: { ...openedCredential(credential, secret), user: userOf(target, secret) },
      secrets,
      checkAddresses: (addresses) => {
        policy.checkAddresses(target, addresses);
        if (way.length > 0 && addresses.length === 0) this.#admitUnresolved(bounds, target);
        else this.#admit(bounds, target, use, addresses);
      },
    };
  }

  /**
   * What answers behind a jump host is who the jump host says, and is told the password: so bounds hold where that leads
   * through, as they hold where it is used.
   */
  #admitWay(bounds: CredentialBounds, { host, name, port }: LeaseJump['target'], use: Use): void {
    const networks = bounds.networks.includes('*') ? [] : bounds.networks;
    const addresses = isIP(host) === 0 ? [] : [host];
    const where = { ...bounds, networks, ports: [port] };
    if (checkBounds(where, { host, addresses, port, protocol: 'ssh', ...use }).ok) return;
    throw new SshError({
      reason: 'credential_bounds',
      message: `The way leads through jump host “${name}” (${host}), which is outside the credential's bounds: what answers behind it would be told the password.`,
      advice:
        'Check that the jump host is the intended one; if so, seal the credential anew with bounds that hold it too (in networks by its IP address), or log in by a key, which is told to nobody.',
    });
  }

  /** The name of what is behind a jump host is resolved there, so that its addresses can't be held to networks. */
  #admitUnresolved({ networks }: CredentialBounds, { host, name }: LeaseTarget): void {
    if (networks.length === 0 || networks.includes('*')) return;
    throw new SshError({
      reason: 'credential_bounds',
      message: `The credential is bound to networks, and “${name}” is behind a jump host, which resolves the name ${host} by itself.`,
      advice:
        'Give the target an IP address as its host, or seal the credential anew with host patterns in place of networks.',
    });
  }

  #admit(bounds: CredentialBounds, target: Lease['target'], use: Use, addresses: readonly string[]): void {
    const { host, port, winrm } = target;
    const verdict = checkBounds(bounds, {
      host,
      addresses,
      port,
      protocol: winrm === undefined ? 'ssh' : 'winrm',
      ...use,
    });
    if (verdict.ok) return;
    throw new SshError({
      reason: 'credential_bounds',
      message: verdict.message,
      advice:
        verdict.field === 'user'
          ? 'Leave out the user name in the connection settings, or seal the credential anew with bounds that allow it.'
          : 'Check that the target is the intended one; if so, seal the credential anew with wider bounds.',
    });
  }

  async #secretOf(credential: LeaseCredential): Promise<Kept> {
    const now = this.#options.monotonicMs();
    const key = `${credential.id} ${credential.version}`;
    const kept = this.#kept.get(key);
    // The same row must be the same seal, or a swapped row would be served from here.
    if (kept !== undefined && kept.untilMs > now && sameSeal(kept.sealed, credential.sealed)) return kept;
    const opening = this.#opening.get(key);
    if (opening !== undefined) {
      const opened = await opening.catch(() => undefined);
      if (opened !== undefined && sameSeal(opened.sealed, credential.sealed)) return opened;
    }
    const mine = this.#open(credential, now);
    this.#opening.set(key, mine);
    try {
      const opened = await mine;
      this.#keep(key, opened);
      return opened;
    } finally {
      if (this.#opening.get(key) === mine) this.#opening.delete(key);
    }
  }

  async #open({ id, version, kind, sealed }: LeaseCredential, now: number): Promise<Kept> {
    const { installationId, segmentId } = this.#options;
    const segmentPrivateKey = this.#options.segmentPrivateKey(sealed.generation);
    if (segmentPrivateKey === undefined) {
      throw new NoSegmentKey(`This agent does not hold generation ${sealed.generation} of the segment key`);
    }
    if (!isCredentialKind(kind)) {
      throw unusable(`Credentials of kind ${kind} are not known to this agent.`, 'Update the agent.');
    }
    try {
      const binding: CredentialBinding = {
        installationId,
        credentialId: id,
        version,
        kind,
        segmentId,
        generation: sealed.generation,
      };
      const secret = await openCredential({ segmentPrivateKey, binding, sealed });
      const secrets = new PatternSet(secretPatterns(openedCredential({ id, version }, secret)));
      return { sealed, secret, secrets, untilMs: now + keptMs };
    } catch (error) {
      if (!(error instanceof SealingError)) throw error;
      throw unusable(
        `The credential could not be opened: ${error.message}.`,
        'Enter the credential anew in the console, so that it is sealed to this segment.',
      );
    }
  }

  #keep(key: string, opened: Kept): void {
    this.#kept.delete(key);
    this.#kept.set(key, opened);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > maxKept && oldest !== undefined) this.#kept.delete(oldest);
  }
}

/** Who logs in: the server's wish counts only as far as the bounds go, which it can't change. */
function userOf(target: LeaseTarget, secret: CredentialSecret): string {
  return target.username ?? secret.user;
}

/** How it is used: of a WinRM target's settings only a password leaves a choice. */
/** To the host itself, or to sudo on it: a key signs, and is told to nobody. */
function tellsPassword(secret: CredentialSecret): boolean {
  return (
    secret.kind === 'ssh_password' || ('becomePassword' in secret && secret.becomePassword !== undefined)
  );
}

function authenticationOf({ kind }: CredentialSecret, winrm: LeaseTarget['winrm']): BoundAuthentication {
  switch (kind) {
    case 'ssh_private_key':
      return 'publickey';
    case 'winrm_certificate':
      return 'certificate';
    case 'winrm_keytab':
    case 'winrm_ticket_cache':
      return 'kerberos';
    default:
      return winrm?.authentication ?? 'password';
  }
}

function openedCredential(
  { id, version }: { id: string; version: number },
  secret: CredentialSecret,
): OpenedCredential {
  const { bounds: _, ...rest } = secret;
  return { id, version, ...rest } as OpenedCredential;
}

function sameSeal(a: SealedCredential, b: SealedCredential): boolean {
  return (
    a.generation === b.generation &&
    a.enc === b.enc &&
    a.wrappedKey === b.wrappedKey &&
    a.nonce === b.nonce &&
    a.ciphertext === b.ciphertext
  );
}

function unusable(message: string, advice: string): SshError {
  return new SshError({ reason: 'credential_unusable', message, advice });
}
