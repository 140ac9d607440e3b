// Answers the server's authentication requests, and remembers what was tried for the message on failure.
import type { SshAlgorithmPolicy } from '@opsconductor/protocol';
import type { AnyAuthMethod, Client, KeyboardInteractiveCallback, Prompt } from 'ssh2';
import type { OpenedCredential } from '../../steps/step-type.ts';
import { SshError } from '../ssh-error.ts';
import { keptKeys } from './kept-keys.ts';
import { limitSignatures, type OfferedKey, offerCertificates, offersOf } from './public-keys.ts';

// A prompt for the login password. Prompts that match `otherPrompt` ask for a new password or a second factor.
const passwordPrompt = /passw(or|oo|o)[dt]|passphrase/i;
const otherPrompt = /\b(new|old|current|retype|again|one[- ]?time|otp|token|code|pin)\b/i;

/** How many of a server's methods or prompts a message names. */
const maxNames = 8;

export class Authentication {
  readonly #user: string;
  readonly #keys: readonly OfferedKey[];
  readonly #hasCertificate: boolean;
  readonly #password: string | undefined;
  /** Methods left to try, in order. */
  #left: { method: AnyAuthMethod; name: string }[];
  readonly #tried = new Set<string>();
  #allowed: string[] = [];
  #partial = false;
  #answered = false;
  #prompts: string[] = [];

  /**
   * Without a credential no user name is sent and no method is tried.
   *
   * @throws SshError `credential_unusable` if the private key or certificate can't be read, or the credential isn't for
   * SSH
   */
  constructor(credential: OpenedCredential | undefined, policy?: SshAlgorithmPolicy) {
    this.#user = credential?.user ?? '';
    this.#hasCertificate = credential?.kind === 'ssh_private_key' && credential.certificate !== undefined;
    this.#keys = [];
    this.#left = [];
    if (credential === undefined) return;
    if (credential.kind === 'ssh_private_key') {
      const key = keptKeys.parse(credential.privateKey, credential.passphrase);
      this.#keys = offersOf(key, credential.certificate, policy);
    } else if (credential.kind === 'ssh_password') {
      this.#password = credential.password;
    } else {
      throw new SshError({
        reason: 'credential_unusable',
        message: 'The credential is for WinRM, but the target is reached by SSH.',
        advice: 'Choose a credential for SSH, or set the target’s protocol to winrm.',
      });
    }
    this.#left = this.#methods();
  }

  /** Call it right after the client's `connect`. */
  attach(client: Client): void {
    limitSignatures(client);
    if (this.#hasCertificate) offerCertificates(client);
  }

  /** Returns the next method to try, or `false` if none is left. For ssh2's `authHandler`. */
  next(allowed: string[] | null, partial: boolean | null): AnyAuthMethod | false {
    this.#allowed = (allowed ?? []).slice(0, maxNames).map(printable);
    this.#partial = partial ?? false;
    const at = this.#left.findIndex(({ method }) => allowed === null || allowed.includes(method.type));
    const [next] = at < 0 ? [] : this.#left.splice(at, 1);
    if (next === undefined) return false;
    this.#tried.add(next.name);
    return next.method;
  }

  /** The user whose login has begun; undefined before any method was tried. */
  get begunFor(): string | undefined {
    return this.#tried.size === 0 ? undefined : this.#user;
  }

  failure(host: string): SshError {
    const tried = [...this.#tried].join(', ') || 'nothing';
    const allowed = this.#allowed.join(', ') || 'no method that the agent knows';
    const wanted =
      this.#prompts.length > 0 ? ` It asked: ${this.#prompts.map((text) => `"${text}"`).join(', ')}.` : '';
    const message = this.#partial
      ? `${host} accepted ${tried} for ${this.#user} and then wanted more (${allowed}).${wanted}`
      : `${host} refused ${this.#user} (tried: ${tried}; the server allows: ${allowed}).${wanted}`;
    return new SshError({ reason: 'auth_failed', message, advice: this.#advice() });
  }

  #methods(): { method: AnyAuthMethod; name: string }[] {
    const username = this.#user;
    // ssh2 parses a key that is given as text, but uses a parsed key as it is.
    if (this.#keys.length > 0)
      return this.#keys.map(({ key, name }) => ({ method: { type: 'publickey', username, key }, name }));
    const methods: AnyAuthMethod[] = [
      { type: 'password', username, password: this.#password ?? '' },
      { type: 'keyboard-interactive', username, prompt: this.#prompt },
    ];
    return methods.map((method) => ({ method, name: method.type }));
  }

  readonly #prompt = (
    _name: string,
    _instructions: string,
    _language: string,
    prompts: Prompt[],
    finish: KeyboardInteractiveCallback,
  ): void => {
    const [only] = prompts;
    const fits =
      prompts.length === 1 &&
      only !== undefined &&
      only.echo !== true &&
      passwordPrompt.test(only.prompt) &&
      !otherPrompt.test(only.prompt);
    if (fits && !this.#answered) {
      this.#answered = true;
      finish([this.#password ?? '']);
      return;
    }
    this.#prompts = prompts.slice(0, maxNames).map(({ prompt }) => printable(prompt));
    finish(prompts.map(() => ''));
  };

  #advice(): string {
    if (this.#partial) return 'The server asks for more than one factor; allow this user to log in with one.';
    const hasKey = this.#keys.length > 0;
    const offered = hasKey ? ['publickey'] : ['password', 'keyboard-interactive'];
    if (this.#allowed.length > 0 && !this.#allowed.some((method) => offered.includes(method))) {
      return `Use a credential of a kind that the server allows (${this.#allowed.join(', ')}).`;
    }
    if (this.#hasCertificate) {
      return "Check that the host trusts the certificate's authority (TrustedUserCAKeys), that the certificate names the user as a principal, and that the account is not locked or expired.";
    }
    return hasKey
      ? "Check the user, that the key's public half is in the user's authorized_keys on the host, that the account is not locked or expired (chage -l), and that its login shell exists."
      : 'Check the user and the password, and that the account is not locked or expired.';
  }
}

function printable(text: string): string {
  return text
    .replace(/[^\x20-\x7e]/g, ' ')
    .trim()
    .slice(0, 100);
}
