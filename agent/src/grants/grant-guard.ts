// Holds steps to the grant that their run was signed with, if the owner of the machine requires one. The server carries
// grants and can't make any: anything that it says beyond a grant is refused.
import type { JobDefinition, Lease, StepDefinition } from '@opsconductor/protocol';
import {
  type GrantedTarget,
  type GrantTerms,
  isSignedBy,
  readGrantedTarget,
  readTerms,
  sha256Hex,
} from '@opsconductor/protocol/grants';
import { decodeBase64 } from '@opsconductor/protocol/sealing';
import type { GrantBegin } from '../journal/grant-begins.ts';
import type { Journal } from '../journal/journal.ts';
import type { PolicyGuard } from '../policy/policy-guard.ts';
import { defaultMaxGrantHours, type RequireGrant } from '../policy/policy-schema.ts';
import { type Signed, signedLease, unsignedPart } from './unsigned-part.ts';

const hourMs = 3_600_000;

export interface GrantGuardOptions {
  identity: { installationId: string; segmentId: number; agentId: number };
  /** Undefined if nothing has to be signed. */
  rule: RequireGrant | undefined;
  policy: Pick<PolicyGuard, 'refuseUnsigned'>;
  journal: Pick<Journal, 'grants' | 'note'>;
  now(): Date;
}

/** All checks throw an `SshError` of reason `policy_refused` that says what differs from what was signed. */
export class GrantGuard {
  readonly #options: GrantGuardOptions;
  readonly #signed = new WeakMap<Lease, Signed>();
  /**
   * Leases that have begun, as objects: the server chooses the names of their attempts, and may give them out again.
   */
  readonly #begun = new WeakSet<Lease>();

  constructor(options: GrantGuardOptions) {
    this.#options = options;
  }

  /** Checks a step before anything of it is done. Returns the lease in full, as it was signed. */
  async check(lease: Lease): Promise<Lease> {
    const { rule } = this.#options;
    if (rule === undefined) return lease;
    const signed = await this.#read(lease, rule);
    const differs = await unsignedPart(lease, signed);
    if (differs !== undefined) this.#refuse(differs, lease);
    this.#checkTime(signed.terms, rule, lease);
    this.#refuseRepeated(lease, signed);
    this.#signed.set(lease, signed);
    return signedLease(lease, signed);
  }

  /**
   * Checks a command that another agent has begun, even if its grant has expired. Returns the lease in full, as it was
   * signed.
   */
  async checkTakeOver(lease: Lease): Promise<Lease> {
    const { rule } = this.#options;
    if (rule === undefined) return lease;
    const signed = await this.#read(lease, rule);
    const differs = await unsignedPart(lease, signed);
    if (differs !== undefined) this.#refuse(differs, lease);
    return signedLease(lease, signed);
  }

  /**
   * Notes in the journal that the step begins, ahead of the record of its start. Throws if it must not.
   *
   * @returns a function that takes the note back, for a step that has not begun after all.
   */
  begin(lease: Lease): () => void {
    const signed = this.#signed.get(lease);
    if (signed === undefined) {
      if (this.#options.rule !== undefined) this.#refuse('a step that was not checked', lease);
      return () => undefined;
    }
    const before = this.#refuseRepeated(lease, signed);
    if (this.#begun.has(lease)) return () => undefined;
    // It may have waited for its connection since it was checked, and what has expired is no longer in the journal.
    if (this.#options.rule !== undefined) this.#checkTime(signed.terms, this.#options.rule, lease);
    const { nonce, expiresAt: until } = signed.terms;
    const { number: step } = signed;
    const attempt = attemptOf(lease);
    const begins = (before?.step === step ? before.begins : 0) + 1;
    const { journal } = this.#options;
    const note = { is: 'granted', nonce, target: lease.target.id, until } as const;
    journal.note({ ...note, step, attempt, begins });
    this.#begun.add(lease);
    const noted = journal.grants.find(nonce, lease.target.id);
    return () => {
      this.#begun.delete(lease);
      // What another step has noted meanwhile stays, because that one has begun.
      if (journal.grants.find(nonce, lease.target.id) !== noted) return;
      journal.note({ ...note, ...(before ?? { step, attempt: '', begins: 0 }) });
    };
  }

  async #read(lease: Lease, rule: RequireGrant): Promise<Signed> {
    const { grant } = lease;
    if (grant === undefined) this.#refuse('a run that is not signed', lease);
    const signers = [];
    for (const signer of rule.signers) {
      if (await isSignedBy(decodeBase64(signer.public_key), grant)) signers.push(signer);
    }
    const [signer] = signers;
    if (signer === undefined) this.#refuse('a run that none of its signers has signed', lease);
    const terms = readTerms(grant.terms);
    const target = readGrantedTarget(grant.statement);
    if (terms === undefined || target === undefined)
      this.#refuse('a grant that this agent can not read', lease);
    this.#checkAudience(terms, target, rule, lease);
    const { classes = ['cli'] } = signer;
    if (terms.signer.key !== signer.public_key || !classes.includes(terms.signer.class)) {
      this.#refuse(`a grant that ${signer.name} signed with a key of class ${terms.signer.class}`, lease);
    }
    if ((await sha256Hex(grant.definition)) !== terms.job.checksum) {
      this.#refuse('a different definition of the job than was signed', lease);
    }
    // Not validated again: its checksum is signed, and its signer has seen a definition that a server had validated.
    const definition = JSON.parse(grant.definition) as JobDefinition;
    return { terms, target, definition, number: grant.step };
  }

  #checkAudience(terms: GrantTerms, target: GrantedTarget, rule: RequireGrant, lease: Lease): void {
    const { installationId, segmentId, agentId } = this.#options.identity;
    if (terms.installationId !== installationId)
      this.#refuse('what was signed for another installation', lease);
    if (target.segmentId !== segmentId) this.#refuse('what was signed for another segment', lease);
    if (target.agentId !== undefined && target.agentId !== agentId) {
      this.#refuse('what was signed for another agent', lease);
    }
    if (rule.one_agent === true && target.agentId === undefined) {
      this.#refuse(
        'what was signed for any agent of the segment (one_agent; give `agentIds` when drafting the run)',
        lease,
      );
    }
  }

  #checkTime({ notBefore, expiresAt }: GrantTerms, rule: RequireGrant, lease: Lease): void {
    const { max_hours: maxHours = defaultMaxGrantHours } = rule;
    const { now, journal } = this.#options;
    const time = now().getTime();
    // A clock that is wrong is the likeliest cause, and whoever reads this on the server can't see it.
    const clock = `(its clock says ${new Date(time).toISOString()})`;
    const [from, until] = [Date.parse(notBefore), Date.parse(expiresAt)];
    if (!(time >= from)) this.#refuse(`a grant that is valid only after ${notBefore} ${clock}`, lease);
    if (!(time < until)) this.#refuse(`a grant that expired at ${expiresAt} ${clock}`, lease);
    if (!(until - from <= maxHours * hourMs)) {
      this.#refuse(`a grant that is valid for longer than ${maxHours} hours (max_hours)`, lease);
    }
    const { lostAt } = journal.grants;
    if (lostAt !== undefined && from <= lostAt.getTime()) {
      const when = lostAt.toISOString();
      this.#refuse(`what was signed before its journal was lost (${when}): it may have run already`, lease);
    }
  }

  /** Returns what was last begun on the target under this grant. Refuses a step that has begun as often as it may. */
  #refuseRepeated(lease: Lease, { terms, definition, number }: Signed): GrantBegin | undefined {
    const before = this.#options.journal.grants.find(terms.nonce, lease.target.id);
    if (before === undefined || before.step < number) return before;
    if (before.attempt === attemptOf(lease) && this.#begun.has(lease)) return before;
    const again = 'again under the same grant';
    if (before.step > number) this.#refuse(`step ${number} after step ${before.step} ${again}`, lease);
    const most = mostBegins(definition.steps[number - 1]);
    if (before.begins >= most) this.#refuse(`step ${number} ${again}`, lease);
    return before;
  }

  #refuse(what: string, lease: Lease): never {
    return this.#options.policy.refuseUnsigned(what, lease);
  }
}

/** How many times the definition lets a step begin. */
function mostBegins(step: StepDefinition | undefined): number {
  if (step?.idempotent === true) return Number.POSITIVE_INFINITY;
  return step?.retry?.attempts ?? 1;
}

function attemptOf({ step, epoch }: Lease): string {
  return `${step}-${epoch}`;
}
