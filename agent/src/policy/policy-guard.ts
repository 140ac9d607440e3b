// Checks what a server asks for against the policy of the agent's owner, before anything of it is done.

import { type BecomeConfig, type Lease, type LeaseTarget, rawSplicesOf } from '@opsconductor/protocol';
import {
  type BoundsAttempt,
  boundAuthentications,
  boundProtocols,
  type CredentialBounds,
  checkBounds,
} from '@opsconductor/protocol/sealing';
import { cutText } from '../cut-text.ts';
import { SshError } from '../ssh/ssh-error.ts';
import type { AgentPolicy, PolicyRules } from './agent-policy.ts';
import { hoursText, isWithin } from './hours.ts';
import type { InsecureTransport, SourceRule } from './policy-schema.ts';
import { sourceBounds } from './source-rules.ts';

/** A refusal, as reported to the owner of the machine. */
export interface Refusal {
  /** As written in the file: `targets.ports`. */
  rule: string;
  message: string;
  target?: { name?: string; host: string; port: number } | undefined;
  attempt?: { runId: number; step: number; epoch: number; stepType: string } | undefined;
}

export interface PolicyGuardOptions {
  policy: AgentPolicy;
  now?: () => Date;
  /** Called for each refusal, before it is thrown. */
  onRefusal?: (refusal: Refusal) => void;
}

/** Where the server wants to connect to; less is known of a scan's targets. */
type Place = Pick<LeaseTarget, 'host' | 'port'> & Partial<Pick<LeaseTarget, 'name' | 'winrm' | 'algorithms'>>;
type Step = Pick<Lease, 'runId' | 'step' | 'epoch' | 'stepType' | 'config' | 'target' | 'rendering'>;

/** Step types whose `command` is run like one of `ssh.exec`. */
export const runsAsSshExec: ReadonlySet<string> = new Set(['reboot', 'wait_for']);

/** All checks throw an `SshError` of reason `policy_refused` that names the rule and where it is in the file. */
export class PolicyGuard {
  readonly #options: PolicyGuardOptions;

  constructor(options: PolicyGuardOptions) {
    this.#options = options;
  }

  /** The current rules, since the file may be read again. */
  get #rules(): PolicyRules {
    return this.#options.policy.rules ?? {};
  }

  /** Whether a command may be begun so that it outlives this agent. */
  get maySurvive(): boolean {
    return this.#rules.survive_agent_restart !== false;
  }

  /** Whether anything with the form of a secret is masked, whatever a server says. */
  get detectsSecrets(): boolean {
    return this.#rules.detect_secrets === true;
  }

  /** Checked again when the step begins, because it may have waited for its connection. */
  checkHours(step: Step): void {
    const { hours } = this.#rules;
    const now = this.#options.now?.() ?? new Date();
    if (hours === undefined || isWithin(hours, now)) return;
    const what = `a step at this time (its clock says ${now.toISOString()})`;
    this.#refuse('hours', what, { allowed: hoursText(hours), step });
  }

  checkStepType(step: Step): void {
    const { step_types } = this.#rules;
    const { stepType } = step;
    if (step_types === undefined || (step_types as readonly string[]).includes(stepType)) return;
    this.#refuse('step_types', `steps of type ${stepType}`, { allowed: step_types.join(', '), step });
  }

  /** Checks the step itself, before its credential is opened. */
  checkStep(step: Step): void {
    const { raw_splices } = this.#rules;
    const { stepType, config, rendering } = step;
    this.checkStepType(step);
    this.checkHours(step);
    const splices =
      rendering === undefined ? [] : rawSplicesOf({ type: stepType, config }, rendering.scope.path);
    if (raw_splices === false && splices.length > 0) {
      this.#refuse('raw_splices', `${splices[0]?.raw}`, { step });
    }
  }

  /**
   * Checks that no other type of step brings a script if scripts of `ssh.exec` are not allowed. Takes the configuration
   * as it would begin.
   */
  checkScript(config: unknown, step: Step): void {
    const { step_types } = this.#rules;
    const { stepType } = step;
    const { command } = Object(config) as { command?: unknown };
    if (step_types === undefined || step_types.includes('ssh.exec') || command === undefined) return;
    if (!runsAsSshExec.has(stepType)) return;
    const what = `a command of ${stepType}, which is a script like those of ssh.exec`;
    this.#refuse('step_types', what, { allowed: step_types.join(', '), step });
  }

  /** Checks the step's configuration as it would run. */
  checkConfig(config: unknown, step: Step): void {
    const { survive_agent_restart, become, run_as, run_as_credential, port } = Object(config) as {
      survive_agent_restart?: unknown;
      become?: BecomeConfig;
      run_as?: string;
      run_as_credential?: string;
      port?: number;
    };
    // A scheduled task always survives.
    const isTask = run_as !== undefined || run_as_credential !== undefined;
    if (!this.maySurvive && (survive_agent_restart === true || isTask)) {
      this.#refuse('survive_agent_restart', 'a command that goes on without its agent', { step });
    }
    if (become !== undefined) this.checkBecome(become, step.target, step);
    if (run_as !== undefined) this.checkBecome({ user: run_as }, step.target, step);
    // The port that `wait_for` names instead of the target's.
    if (port !== undefined) this.checkTarget({ ...step.target, port });
  }

  /** Checks the user that a command would run as, if it is not the one who logs in. */
  checkBecome({ user = 'root' }: BecomeConfig, target: Place, step?: Step): void {
    const { become } = this.#rules;
    if (become === undefined || become.includes('*') || become.includes(user)) return;
    const about = { allowed: become.join(', '), target };
    this.#refuse('become', `to become ${user}`, step === undefined ? about : { ...about, step });
  }

  /** Checks where a connection would go and how, before any is made. */
  checkTarget(target: Place): void {
    const { hosts = [], ports } = this.#rules.targets ?? {};
    this.#checkBounds({ hosts, ports: ports ?? [target.port] }, target, []);
    const { winrm, algorithms } = target;
    const used: [InsecureTransport, boolean, string][] = [
      ['ssh_legacy', algorithms === 'legacy', 'old algorithms of SSH'],
      ['winrm_http', winrm?.transport === 'http', 'WinRM over HTTP'],
      ['winrm_basic', winrm?.authentication === 'basic', 'Basic authentication'],
      [
        'winrm_unverified',
        winrm?.transport === 'https' && winrm.certificateCheck === 'skip',
        'a certificate that is not verified',
      ],
    ];
    const allowed = this.#rules.insecure_transports;
    for (const [name, isUsed, what] of used) {
      if (!isUsed || allowed === undefined || allowed.includes(name)) continue;
      this.#refuse('insecure_transports', `${what} (${name})`, { allowed: allowed.join(', '), target });
    }
  }

  /**
   * Returns a secret that is kept on this machine, where it may be used, and where it is in the file. Throws if there
   * is none.
   */
  sourceNamed(name: string): {
    rule: SourceRule;
    bounds: CredentialBounds;
    place: string;
    refuse: (field: keyof CredentialBounds, what: string, target: Place, allowed: readonly string[]) => never;
  } {
    const at = this.#rules.sources?.findIndex((one) => one.name === name) ?? -1;
    const rule = this.#rules.sources?.[at];
    if (rule === undefined) {
      throw new SshError({
        reason: 'credential_unusable',
        message: `The policy file of this agent names no source ${name}.`,
        advice:
          'Ask the owner of the agent’s machine to name it under sources there, or seal the credential again with the right name.',
      });
    }
    return {
      rule,
      bounds: sourceBounds(rule),
      place: this.#placeOf(`sources[${at}]`),
      refuse: (field, what, target, allowed) =>
        this.#refuse(`sources[${at}].bounds.${field}`, `the secret of source ${name} for ${what}`, {
          allowed: allowed.join(', '),
          target,
        }),
    };
  }

  /** Refuses a part of a step that is not as its run was signed. */
  refuseUnsigned(what: string, step: Step): never {
    this.#refuse('require_grant', what, {
      step,
      advice:
        'Have the run signed again (node scripts/opsconductor.mjs grant sign) and start it with that grant: each is for one start, until it expires. If it was signed and something differs, find out who changed it since: the audit logs here and on the server have both.',
    });
  }

  /** Checks every address that a target's name has resolved to. */
  checkAddresses(target: Place, addresses: readonly string[]): void {
    const { networks = [] } = this.#rules.targets ?? {};
    this.#checkBounds({ networks, ports: [target.port] }, target, addresses);
  }

  /** Checks the user who would log in. */
  checkUser(user: string, target: Place): void {
    const { users } = this.#rules;
    if (users === undefined || users.includes('*') || users.includes(user)) return;
    this.#refuse('users', `user ${user}`, { allowed: users.join(', '), target });
  }

  /** Hosts, networks, ports and users follow the same rules as in a credential's bounds. */
  #checkBounds(
    some: Partial<CredentialBounds> & Pick<CredentialBounds, 'ports'>,
    target: Place,
    addresses: readonly string[],
  ): void {
    const bounds: CredentialBounds = {
      hosts: [],
      networks: [],
      user: '*',
      protocols: [...boundProtocols],
      authentication: [...boundAuthentications],
      ...some,
    };
    const { host, port } = target;
    const attempt: BoundsAttempt = {
      host,
      port,
      addresses,
      protocol: 'ssh',
      user: '*',
      authentication: 'password',
    };
    const verdict = checkBounds(bounds, attempt);
    if (verdict.ok) return;
    const { field, found, allowed } = verdict;
    const noun = { hosts: 'host', networks: 'address', ports: 'port' }[
      field as 'hosts' | 'networks' | 'ports'
    ];
    const isUnknown = field === 'networks' && addresses.length === 0;
    const what = isUnknown ? `${host}, whose address a jump host looks up` : `${noun} ${found}`;
    this.#refuse(`targets.${field}`, what, { allowed, target });
  }

  #placeOf(rule: string): string {
    const { source } = this.#options.policy;
    const line = source?.lineOf(rule);
    return source === undefined ? '' : ` (${source.file}${line === undefined ? '' : `, line ${line}`})`;
  }

  #refuse(
    rule: string,
    what: string,
    about: { allowed?: string; target?: Place; step?: Step; advice?: string },
  ): never {
    const { allowed, step, target = step?.target } = about;
    const place = this.#placeOf(rule);
    const only = allowed === undefined ? '' : `; it allows ${allowed === '' ? 'none' : allowed}`;
    const message = `The policy of this agent does not allow ${what}: rule ${rule}${only}${place}.`;
    this.#options.onRefusal?.({
      rule,
      message,
      target: target && {
        host: target.host,
        port: target.port,
        ...(target.name === undefined ? {} : { name: target.name }),
      },
      attempt: step && { runId: step.runId, step: step.step, epoch: step.epoch, stepType: step.stepType },
    });
    throw new SshError({
      reason: 'policy_refused',
      message: cutText(message, 2_000),
      advice:
        about.advice ??
        'Ask the owner of the agent’s machine to allow it in the policy file there, or change the job or the target.',
    });
  }
}
