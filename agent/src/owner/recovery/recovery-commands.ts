// `opsconductor.mjs recovery …`: a key that is kept offline and opens what no agent can open any more.
import type { Command } from 'commander';
import { AgentError } from '../../agent-error.ts';
import type { Config } from '../../config.ts';
import { KnownRoots } from '../../start-run/known-roots.ts';
import { passphraseOption } from '../keys/key-commands.ts';
import { openKeyFile, publicKeyOf } from '../keys/key-file.ts';
import { readPassphrase } from '../keys/passphrase.ts';
import { keepSeen, readOwned } from '../segments/owned-segment.ts';
import { connectApi, type ServerOptions, withServerOptions } from '../server-options.ts';
import { giveTo, openGenerations } from './recover-segment.ts';

interface RecoveryOptions extends ServerOptions {
  key: string;
  recovery: string;
  roots: string;
  passphraseFile?: string;
}

/** @param say prints a line. */
export function addRecoveryCommands(program: Command, config: Config, say: (line: string) => void): void {
  const recovery = program
    .command('recovery')
    .description('a key that is kept offline, for the day on which all agents of a segment are lost');
  const command = (name: string, description: string) =>
    withServerOptions(recovery.command(name).description(description))
      .argument('<segment>', 'name of the segment')
      .requiredOption('--key <path>', 'file of the root key; only its public half is used')
      .requiredOption('--recovery <path>', 'file of the recovery key')
      .option('--roots <path>', 'file of the roots of segments that you know', config.defaultRoots)
      .option(...passphraseOption);

  const open = async (name: string, options: RecoveryOptions) => {
    const { key, recovery: file, passphraseFile } = options;
    const api = await connectApi(options, config);
    const roots = await KnownRoots.read(options.roots, false);
    const owned = await readOwned(api, roots.named(name), await publicKeyOf(key, 'root'));
    await keepSeen(roots, owned);
    const recoveryKey = await openKeyFile(file, 'recovery', () => readPassphrase(passphraseFile));
    const opened = await openGenerations(api, owned, recoveryKey);
    recoveryKey.privateKey.fill(0);
    for (const { generation, said } of opened) say(`generation ${generation} of the segment key ${said}`);
    return { api, owned, opened };
  };

  command('prove', 'test the recovery key: open every generation of the segment key with it').action(
    async (name: string, options: RecoveryOptions) => {
      const { opened } = await open(name, options);
      const missing = opened.filter(({ privateKey }) => privateKey === undefined);
      for (const { privateKey } of opened) privateKey?.fill(0);
      if (missing.length === 0) return;
      throw new AgentError(
        `This recovery key would not bring back ${missing.length} of ${opened.length} generations of the segment key.`,
        'Have an agent of the segment connect, and try again. If one still does not open, name another recovery key in the roster.',
      );
    },
  );

  command('use', 'give the segment key to a new agent that the roster names')
    .requiredOption('--agent <name>', 'name of the new agent, which the roster must already name')
    .action(async (name: string, options: RecoveryOptions & { agent: string }) => {
      const { api, owned, opened } = await open(name, options);
      const given = await giveTo(api, owned, opened, options.agent);
      for (const { privateKey } of opened) privateKey?.fill(0);
      say(
        given.length === 0
          ? `Agent ${options.agent} already has every generation that opened.`
          : `Agent ${options.agent} gets generation ${given.join(', ')} of the segment key.`,
      );
    });
}
