// `npm start` in a checkout, as a user runs it.
import { join } from 'node:path';
import type { Account, Checkout } from './checkout.ts';
import { kill, WatchedProcess } from './watched-process.ts';

export interface NpmStartOptions {
  checkout: Checkout;
  /** Absolute path. */
  dataDir: string;
  args: readonly string[];
  env?: Record<string, string>;
  /** The account that runs it; by default this process's user. */
  account?: Account;
  /** Working directory; by default the checkout. */
  cwd?: string;
  /** Without npm, whose own start takes as long as the server's. */
  isDirect?: boolean;
}

export class NpmStart extends WatchedProcess {
  constructor({ checkout, dataDir, args, account, env, ...rest }: NpmStartOptions) {
    const { cwd = checkout.folder, isDirect = false } = rest;
    const start = isDirect
      ? [process.execPath, join(checkout.folder, 'scripts/start.mjs')]
      : ['npm', '--prefix', checkout.folder, 'start', '--'];
    const asAccount =
      account === undefined
        ? []
        : ['setpriv', `--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups'];
    super({
      command: [...asAccount, ...start, '--data', dataDir, ...args],
      cwd,
      env: { HOME: checkout.home, ...env },
      // PostgreSQL has a different environment, but its command line names the data directory.
      marks: [`${dataDir}/`],
    });
  }

  /** Sends kill -9 to the server's own process only. Resolves when npm has ended too. */
  async killServer(): Promise<void> {
    const [server] = this.processes(/^\S*node \S*scripts\/start\.mjs/);
    if (server === undefined) throw new Error(`there is no server process:\n${this.output}`);
    kill(server.pid);
    await this.ended();
  }
}
