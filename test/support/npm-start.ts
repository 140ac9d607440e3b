// `npm start` in a checkout, as one of its users runs it.
import { join } from 'node:path';
import type { Account, Checkout } from './checkout.ts';
import { kill, WatchedProcess } from './watched-process.ts';

export interface NpmStartOptions {
  checkout: Checkout;
  /** Absolute. */
  dataDir: string;
  args: readonly string[];
  env?: Record<string, string>;
  /** Who runs it; this process's own user unless told. */
  account?: Account;
  /** From where; the checkout unless told. */
  cwd?: string;
  /** Not by npm, whose own start takes as long as the server's. */
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
      // PostgreSQL gets an environment of its own; its command line names the data directory.
      marks: [`${dataDir}/`],
    });
  }

  /** kill -9 of the server's own process, and nothing else. Resolves when npm has ended too. */
  async killServer(): Promise<void> {
    const [server] = this.processes(/^\S*node \S*scripts\/start\.mjs/);
    if (server === undefined) throw new Error(`there is no server process:\n${this.output}`);
    kill(server.pid);
    await this.ended();
  }
}
