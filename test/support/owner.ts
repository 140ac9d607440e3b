// The owner of a segment at their machine: the program `opsconductor` with its keys, without a separate process.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { readConfig } from '../../agent/src/config.ts';
import { dataDirectory } from '../../agent/src/identity/data-directory.ts';
import { fingerprintOf } from '../../agent/src/identity/identity.ts';
import { addCredentialCommands } from '../../agent/src/owner/credentials/credential-commands.ts';
import { type KeyPurpose, makeKeyFile } from '../../agent/src/owner/keys/key-file.ts';
import { addRecoveryCommands } from '../../agent/src/owner/recovery/recovery-commands.ts';
import { addSegmentCommands } from '../../agent/src/owner/segments/segment-commands.ts';
import type { TestAgent } from './server-and-agents.ts';

const passphrase = 'correct horse battery';
/** Cheap key derivation: the cost of guessing isn't tested here. */
const cheap = { N: 16, r: 8, p: 1 };

export class Owner {
  readonly #dir: string;
  readonly #options: string[];

  private constructor(dir: string, server: { url: string; token: string }) {
    this.#dir = dir;
    this.#options = [
      '--server',
      server.url,
      '--token-file',
      this.file('token'),
      '--roots',
      this.file('roots.json'),
    ];
  }

  static async at(dir: string, server: { url: string; token: string }): Promise<Owner> {
    await mkdir(dir);
    const owner = new Owner(dir, server);
    await owner.write('token', server.token);
    await owner.write('passphrase', passphrase);
    for (const purpose of ['root', 'recovery'] satisfies KeyPurpose[]) {
      await makeKeyFile(owner.file(purpose), purpose, passphrase, cheap);
    }
    return owner;
  }

  file(name: string): string {
    return join(this.#dir, name);
  }

  write(name: string, text: string): Promise<void> {
    return writeFile(this.file(name), text, { mode: 0o600 });
  }

  /** The fingerprint shown on an agent's machine. */
  admits = async (agent: TestAgent): Promise<string[]> => {
    return ['--admit', `${agent.name}=${await fingerprintOf(dataDirectory(agent.dataDir))}`];
  };

  segment = (...args: string[]) => this.#run(['segment', ...args, '--key', this.file('root')]);
  sign = (...args: string[]) => this.segment('roster', 'sign', ...args, ...this.#passphrase);
  recovery = (...args: string[]) =>
    this.#run([
      ...['recovery', ...args, '--key', this.file('root'), '--recovery', this.file('recovery')],
      ...this.#passphrase,
    ]);
  credential = (...args: string[]) => this.#run(['credential', ...args]);

  get #passphrase(): string[] {
    return ['--passphrase-file', this.file('passphrase')];
  }

  /** Returns the lines that it prints. */
  async #run(args: string[]): Promise<string[]> {
    const lines: string[] = [];
    const say = (line: string) => lines.push(line);
    const program = new Command('opsconductor').exitOverride();
    addSegmentCommands(program, readConfig(), say);
    addCredentialCommands(program, readConfig(), say);
    addRecoveryCommands(program, readConfig(), say);
    await program.parseAsync([...args, ...this.#options], { from: 'user' });
    return lines;
  }
}
