// Another WinRM client in its own process, which answers each line with the time that it took.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export type PeerTask = 'new' | 'warm' | 'shell' | `echo ${string} ${string}`;

export class PywinrmPeer {
  readonly #child;
  readonly #lines: AsyncIterator<string>;

  constructor(endpoint: string, user: string, password: string) {
    const program = join(import.meta.dirname, 'peer.py');
    this.#child = spawn('/usr/bin/python3', [program, endpoint, user, password], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
    });
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /** Returns milliseconds. */
  async time(task: PeerTask): Promise<number> {
    this.#child.stdin.write(`${task}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('pywinrm has ended');
    return Number(value);
  }

  async stop(): Promise<void> {
    this.#child.stdin.end();
    if (this.#child.exitCode === null) await once(this.#child, 'close');
  }
}
