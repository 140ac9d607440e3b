// The command with which the login shell becomes another user, and the interpretation of what sudo and su answer.
import { cutText } from '../../cut-text.ts';
import { readTerminalHead } from '../../steps/ssh-exec/ssh-exec-script.ts';
import type { Become } from './become.ts';

/** What the output means: a password is asked for, or the other user's shell is there. */
export type BecomeNews = 'asked' | 'in' | undefined;

/**
 * Returns a command that ends in a plain /bin/sh of the other user, which reads its stdin. It works in any login shell:
 * there is no single quote, `!` or line break inside its quotes. Without a terminal it needs only `echo`, `;` and
 * `exec` of the other user's shell.
 *
 * @param options `marker`: put into the environment of that shell
 */
export function becomeCommand(
  { method, user }: Become,
  nonce: string,
  { marker, pty = false }: { marker?: string | undefined; pty?: boolean } = {},
): string {
  // A command that is taken over comes with a configuration that only this agent's server has checked.
  if (!['sudo', 'su'].includes(method)) throw new Error(`not a method: ${method}`);
  for (const word of [user, nonce, marker ?? ''])
    if (!/^[\w.:-]*\$?$/.test(word)) throw new Error(`not a word: ${word}`);
  const account = user.endsWith('$') ? `${user.slice(0, -1)}"$"` : user;
  const environment = marker === undefined ? '' : ` OPSCONDUCTOR_ATTEMPT=${marker}`;
  // In a terminal the script comes through a pipe, after its length: see `terminalBootstrapCommand`.
  const reads = pty ? `${readTerminalHead.replace('$', '\\$')}; head -c \\$2 | env` : 'exec env';
  const inside = `echo ${nonce} in; ${reads}${environment}`;
  const missing = `command -v ${method} >/dev/null 2>&1 || { echo ${nonce} missing; exit 127; }`;
  // No prompt counts that comes before the word on its stream: a startup file or another program may ask for a password.
  // su prompts in the user's language, so LC_ALL is set to C; and since su passes that on, it is cleared again inside.
  const ask =
    method === 'sudo'
      ? `exec sudo -S -H -p "${nonce} ask" -u ${account} -- /bin/sh -c "${inside} /bin/sh"`
      : `LC_ALL=C; export LC_ALL; echo ${nonce} su; echo ${nonce} su >&2; exec su ${account} -c "${inside} LC_ALL= /bin/sh"`;
  return `exec /bin/sh -c '${missing}; ${ask}'`;
}

/** Limit on what is kept of a target's output, in characters. */
const maxSaidBytes = 4096;

/** Interprets both streams until the other user's shell is there. */
export class BecomeDialog {
  readonly #method: Become['method'];
  readonly #nonce: string;
  #out = '';
  #said = '';

  constructor(method: Become['method'], nonce: string) {
    this.#method = method;
    this.#nonce = nonce;
  }

  get isMissing(): boolean {
    return this.#out.includes(`${this.#nonce} missing`);
  }

  /** What sudo or su printed other than prompts, in one line. For error messages. */
  get said(): string {
    const words = `${this.#said}\n${this.#out}`
      .split('\n')
      // sudo may repeat the command that it was to run, nonce included.
      .map((line) =>
        line
          .replaceAll(this.#nonce, '')
          .replace(/[^\x20-\x7e]/g, ' ')
          .trim(),
      )
      .filter((line) => !['', 'ask', 'in', 'missing', 'su'].includes(line));
    return cutText(words.slice(-4).join(' / '), 500);
  }

  push(stream: 'stdout' | 'stderr', bytes: Buffer): BecomeNews {
    const text = bytes.toString('latin1');
    if (stream === 'stdout') {
      this.#out = (this.#out + text).slice(-maxSaidBytes);
      if (new RegExp(`${this.#nonce} in\r?\n`).test(this.#out)) return 'in';
    } else this.#said = (this.#said + text).slice(-maxSaidBytes);
    return this.#takePrompt() ? 'asked' : undefined;
  }

  #takePrompt(): boolean {
    // sudo prompts with the nonce; su in its own words, behind the nonce.
    const prompt =
      this.#method === 'sudo'
        ? new RegExp(`${this.#nonce} ask`)
        : new RegExp(`(?<=${this.#nonce} su\\r?\\n[^]*)password: ?$`, 'i');
    for (const name of ['said', 'out'] as const) {
      const text = name === 'said' ? this.#said : this.#out;
      if (!prompt.test(text)) continue;
      const rest = text.replace(prompt, '');
      if (name === 'said') this.#said = rest;
      else this.#out = rest;
      return true;
    }
    return false;
  }
}
