// Opens sealed credentials with the segment key and enforces their bounds. An opened credential is kept for a while: a
// run on many targets opens the same one for each, and opening takes milliseconds.
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import type { Lease, LeaseCredential, LeaseJump, LeaseTarget } from '@opsconductor/protocol';
import {
  type BoundAuthentication,
  type CredentialBinding,
  type CredentialSecret,
  isCredentialKind,
  openCredential,
  type SealedCredential,
  SealingError,
} from '@opsconductor/protocol/sealing';
import type { Pattern } from '../../masking/comparison.ts';
import { PatternSet } from '../../masking/pattern-set.ts';
import { secretPatterns } from '../../masking/secret-patterns.ts';
import type { PolicyGuard } from '../../policy/policy-guard.ts';
import type { SourceReader } from '../../sources/source-reader.ts';
import { jumpHostFailed } from '../../ssh/jump-hosts.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import type { JumpHost, OpenedCredential, RunAs, StepTarget } from '../../steps/step-type.ts';
import { isSameSeal } from './same-seal.ts';
import {
  admitUnknownAddress,
  admitUnresolvedUse,
  admitUse,
  admitWay,
  credentialLimit,
  type UsageLimit,
  type Use,
} from './usage-limits.ts';

const maxKept = 64;
const keptMs = 300_000;

export interface UsableCredential {
  credential: OpenedCredential;
  /** The target, with the opened credentials of the jump hosts on the way to it. */
  target: StepTarget;
  /** The user that the step's command runs as on a Windows host, if it is not the user who logs in. */
  runAs?: RunAs;
  /** What to mask in output while the credential is used. */
  secrets: PatternSet;
  /** Throws an `SshError` for addresses outside the credential's bounds or this machine's policy. */
  checkAddresses(addresses: readonly string[]): void;
}

/** This agent has no key for the credential's generation. Another agent of the segment may have it. */
export class NoSegmentKey extends Error {
  override readonly name = 'NoSegmentKey';
  readonly advice =
    'An agent of the segment that holds it gives it to this one once both are connected. If none does any more, as after the last agent of the segment was revoked, change the secret on the targets and replace the credential.';
}

export type OpenForTarget = (credential: LeaseCredential, target: LeaseTarget) => Promise<UsableCredential>;

export interface CredentialOpenerOptions {
  installationId: string;
  segmentId: number;
  segmentPrivateKey(generation: number): Uint8Array | undefined;
  monotonicMs(): number;
  policy: Pick<PolicyGuard, 'checkTarget' | 'checkAddresses' | 'checkUser' | 'checkBecome' | 'sourceNamed'>;
  /** This machine's sources, for credentials that name one. */
  sources: Pick<SourceReader, 'password' | 'privateKey' | 'refused'>;
}

interface Kept {
  sealed: SealedCredential;
  secret: CredentialSecret;
  secrets: PatternSet;
  /** For a credential that names a source: what was last read from it. */
  sourced?: { secret: WholeSecret; secrets: PatternSet };
  untilMs: number;
}

type SourcedSecret = Extract<CredentialSecret, { source: string }>;
/** A secret that is complete in itself, with no part in a source. */
type WholeSecret = Exclude<CredentialSecret, SourcedSecret>;

export class CredentialOpener {
  readonly #options: CredentialOpenerOptions;
  readonly #kept = new Map<string, Kept>();
  readonly #opening = new Map<string, Promise<Kept>>();

  constructor(options: CredentialOpenerOptions) {
    this.#options = options;
  }

  /**
   * Opens a credential for one target, if this machine's policy allows both. All bounds except the networks are checked
   * here; networks are checked by `checkAddresses` once the target's name is resolved. If the target names a user, that
   * user logs in, provided the bounds allow it.
   *
   * @throws {NoSegmentKey}
   * @throws {SshError} `credential_unusable`, `credential_bounds`, `policy_refused`.
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
    const secrets = await own.secrets.sharedWith(patterns);
    return { ...own, ...other?.usable, target: way.target, secrets };
  }

  /**
   * A host has refused one of these credentials. What their sources said is not used again, since it may have been
   * replaced there.
   */
  refused({ credential, target, runAs }: Pick<Lease, 'credential' | 'target' | 'runAs'>): void {
    const used = [credential, runAs, ...(target.jumps ?? []).map((jump) => jump.credential)];
    for (const one of used) {
      const secret = one && this.#kept.get(`${one.id} ${one.version}`)?.secret;
      if (secret !== undefined && 'source' in secret) this.#options.sources.refused(secret.source);
    }
  }

  /**
   * Opens the credential that the command runs as. The host is sent its password, so its bounds must allow that use and
   * the host.
   */
  async #openRunAs(
    credential: LeaseCredential,
    target: LeaseTarget,
    own: Pick<UsableCredential, 'checkAddresses'>,
  ): Promise<{ usable: Pick<UsableCredential, 'runAs' | 'checkAddresses'>; patterns: Pattern[] }> {
    const kept = await this.#secretOf(credential);
    const { secret } = kept;
    if (secret.kind !== 'winrm_password' && secret.kind !== 'winrm_password_source') {
      throw unusable(
        'The credential that the command is to run as is not of kind WinRM password.',
        'Name another one in run_as_credential of the step.',
      );
    }
    const { user } = secret;
    this.#options.policy.checkBecome({ user }, target);
    const use: Use = { user, authentication: 'run_as' };
    const limits = this.#limitsOf(secret, target);
    for (const limit of limits) admitUnresolvedUse(limit, target, use);
    const { opened, secrets } = await this.#valueOf(credential, kept);
    assert(opened.kind === 'winrm_password');
    const { id, version, password } = opened;
    return {
      patterns: [...secrets.patterns],
      usable: {
        runAs: { id, version, user, password },
        checkAddresses: (addresses) => {
          own.checkAddresses(addresses);
          for (const limit of limits) admitUse(limit, target, use, addresses);
        },
      },
    };
  }

  /** Opens the credentials of a target's jump hosts, and returns what to mask of them. Throws like `open`. */
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
    const kept = await this.#secretOf(credential);
    const { secret } = kept;
    policy.checkUser(userOf(target, secret), target);
    const use: Use = {
      user: userOf(target, secret),
      authentication: authenticationOf(secret, target.winrm),
    };
    const limits = this.#limitsOf(secret, target);
    for (const limit of limits) {
      admitUnresolvedUse(limit, target, use);
      if (tellsPassword(secret)) for (const jump of way) admitWay(limit, jump.target, use);
    }
    const { opened, secrets } = await this.#valueOf(credential, kept);
    return {
      credential: { ...opened, user: userOf(target, secret) },
      secrets,
      checkAddresses: (addresses) => {
        policy.checkAddresses(target, addresses);
        for (const limit of limits) {
          if (way.length > 0 && addresses.length === 0) admitUnknownAddress(limit, target);
          else admitUse(limit, target, use, addresses);
        }
      },
    };
  }

  /** The credential's own bounds and, if it names a source, the policy's bounds for that source. */
  #limitsOf(secret: CredentialSecret, target: LeaseTarget): UsageLimit[] {
    const own = credentialLimit(secret.bounds);
    if (!('source' in secret)) return [own];
    const { bounds, refuse } = this.#options.policy.sourceNamed(secret.source);
    const limit: UsageLimit = {
      bounds,
      refuse: ({ field, what, allowed = [] }) => refuse(field, what, target, allowed),
    };
    return [own, limit];
  }

  /** Returns the credential, completed from its source if it names one. */
  async #valueOf(
    credential: LeaseCredential,
    kept: Kept,
  ): Promise<{ opened: OpenedCredential; secrets: PatternSet }> {
    const { secret } = kept;
    if (!('source' in secret)) return { opened: openedCredential(credential, secret), secrets: kept.secrets };
    const sourced = await this.#read(secret);
    if (kept.sourced === undefined || !isDeepStrictEqual(kept.sourced.secret, sourced)) {
      const patterns = secretPatterns(openedCredential(credential, sourced));
      kept.sourced = { secret: sourced, secrets: await new PatternSet([]).with(patterns) };
    }
    return { opened: openedCredential(credential, sourced), secrets: kept.sourced.secrets };
  }

  async #read({ source, ...secret }: SourcedSecret): Promise<WholeSecret> {
    const { sources } = this.#options;
    switch (secret.kind) {
      case 'ssh_key_source':
        return {
          ...secret,
          kind: 'ssh_private_key',
          privateKey: await sources.privateKey(source, secret.passphrase),
        };
      case 'ssh_password_source':
        return { ...secret, kind: 'ssh_password', password: await sources.password(source) };
      case 'winrm_password_source':
        return { ...secret, kind: 'winrm_password', password: await sources.password(source) };
    }
  }

  async #secretOf(credential: LeaseCredential): Promise<Kept> {
    const now = this.#options.monotonicMs();
    const key = `${credential.id} ${credential.version}`;
    const kept = this.#kept.get(key);
    // Compare the seals too: otherwise a swapped row would be answered from here.
    if (kept !== undefined && kept.untilMs > now && isSameSeal(kept.sealed, credential.sealed)) return kept;
    const opening = this.#opening.get(key);
    if (opening !== undefined) {
      const opened = await opening.catch(() => undefined);
      if (opened !== undefined && isSameSeal(opened.sealed, credential.sealed)) return opened;
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
      const patterns = 'source' in secret ? [] : secretPatterns(openedCredential({ id, version }, secret));
      const secrets = await new PatternSet([]).with(patterns);
      return { sealed, secret, secrets, untilMs: now + keptMs };
    } catch (error) {
      if (!(error instanceof SealingError)) throw error;
      throw unusable(
        `The credential could not be opened: ${error.message}.`,
        'Enter the credential again in the console, so that it is sealed to this segment.',
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

/** The user who logs in. The server may choose one, but only within the bounds, which it can't change. */
function userOf(target: LeaseTarget, secret: CredentialSecret): string {
  return target.username ?? secret.user;
}

/** Whether a password is sent to the host or to sudo on it. A key only signs and is sent to nobody. */
function tellsPassword(secret: CredentialSecret): boolean {
  return (
    secret.kind === 'ssh_password' ||
    secret.kind === 'ssh_password_source' ||
    ('becomePassword' in secret && secret.becomePassword !== undefined)
  );
}

/** How the credential authenticates. Only for a password do a WinRM target's settings leave a choice. */
function authenticationOf({ kind }: CredentialSecret, winrm: LeaseTarget['winrm']): BoundAuthentication {
  switch (kind) {
    case 'ssh_private_key':
    case 'ssh_key_source':
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
  secret: WholeSecret,
): OpenedCredential {
  const { bounds: _, ...rest } = secret;
  return { id, version, ...rest } as OpenedCredential;
}

function unusable(message: string, advice: string): SshError {
  return new SshError({ reason: 'credential_unusable', message, advice });
}
