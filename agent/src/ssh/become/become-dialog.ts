// What is asked of the login shell to become another user, and what sudo and su answer.
import type { Become } from './become.ts';

/** What passes between; the rest of what they say is told where it fails. */
export type BecomeNews = 'asked' | 'in' | undefined;

/**
 * Ends in a plain /bin/sh of the other user that reads its standard input. For whatever login shell: no single quote, `!`
 * or line break within the quotes, and of the other user's shell only `echo`, `;` and `exec`, where there is no terminal.
 *
 * @param options `marker` for the environment of that shell.
 */
export function becomeCommand(
  { method, user }: Become,
  nonce: string,
  { marker, pty = false }: { marker?: string | undefined; pty?: boolean } = {},
): string {
  for (const word of [user, nonce, marker ?? ''])
    if (!/^[\w.:-]*\$?$/.test(word)) throw new Error(`not a word: ${word}`);
  const account = user.endsWith('$') ? `${user.slice(0, -1)}"$"` : user;
  const environment = marker === undefined ? '' : ` OPSCONDUCTOR_ATTEMPT=${marker}`;
  // In a terminal the script comes by a pipe, behind its length: see `terminalBootstrapCommand`.
  const reads = pty ? 'read -r n; head -c \\$n | env' : 'exec env';
  const inside = `echo ${nonce} in; ${reads}${environment}`;
  const missing = `command -v ${method} >/dev/null 2>&1 || { echo ${nonce} missing; exit 127; }`;
  // su asks in the words of the language, and gives the environment on.
  const ask =
    method === 'sudo'
      ? `exec sudo -S -H -p "${nonce} ask" -u ${account} -- /bin/sh -c "${inside} /bin/sh"`
      : `LC_ALL=C; export LC_ALL; exec su ${account} -c "${inside} LC_ALL= /bin/sh"`;
  return `exec /bin/sh -c '${missing}; ${ask}'`;
}

/** A stranger's words are kept up to here. */
const maxSaidBytes = 4096;

/** Reads both streams until the other user's shell is there. */
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

  /** What they said that was no prompt, in one line. */
  get said(): string {
    const words = `${this.#said}\n${this.#out}`
      .split('\n')
      // sudo repeats what it was to run.
      .map((line) =>
        line
          .replaceAll(this.#nonce, '')
          .replace(/[^\x20-\x7e]/g, ' ')
          .trim(),
      )
      .filter((line) => !['', 'ask', 'in', 'missing'].includes(line));
    return words.slice(-4).join(' / ').slice(0, 500);
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
    const prompt = this.#method === 'sudo' ? new RegExp(`${this.#nonce} ask`) : /password: ?$/i;
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
