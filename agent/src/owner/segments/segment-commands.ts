// `opsconductor.mjs segment …`: segments whose root is a key on this machine.

import { dirname } from 'node:path';
import { encodeBase64 } from '@opsconductor/protocol/sealing';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { AgentError } from '../../agent-error.ts';
import { typedCommand } from '../../command-line/typed-command.ts';
import type { Config } from '../../config.ts';
import { makePrivateFolder } from '../../identity/durable-file.ts';
import { KnownRoots } from '../../start-run/known-roots.ts';
import { passphraseOption } from '../keys/key-commands.ts';
import { openKeyFile, publicKeyOf } from '../keys/key-file.ts';
import { readPassphrase } from '../keys/passphrase.ts';
import { connectApi, type ServerOptions, withServerOptions } from '../server-options.ts';
import { describeOwned } from './describe-owned.ts';
import { initSegment, keepSeen, readOwned, signNextRoster } from './owned-segment.ts';

interface SegmentOptions extends ServerOptions {
  key: string;
  roots: string;
}

interface SignOptions extends SegmentOptions {
  admit: ReadonlyMap<string, string>;
  remove: string[];
  recovery?: string;
  dropLost?: true;
  fromServer?: number;
  passphraseFile?: string;
}

/** @param say prints a line. */
export function addSegmentCommands(program: Command, config: Config, say: (line: string) => void): void {
  const segment = program.command('segment').description('segments whose root is a key on this machine');
  const command = (parent: Command, name: string, description: string) =>
    withServerOptions(parent.command(name).description(description))
      .argument('<segment>', 'name of the segment')
      .requiredOption('--key <path>', 'file of the root key')
      .option('--roots <path>', 'file of the roots of segments that you know', config.defaultRoots);

  command(segment, 'init', 'make a segment whose root is the key of --key')
    .option('--description <text>', 'description of the segment')
    .action(async (name: string, options: SegmentOptions & { description?: string }) => {
      const rootPublicKey = await publicKeyOf(options.key, 'root');
      const api = await connectApi(options, config);
      const roots = await KnownRoots.read(options.roots, false);
      await makeFolderOf(options.roots);
      const { description } = options;
      const { rootFingerprint } = await initSegment(api, roots, { name, description, rootPublicKey });
      say(`Segment ${name} has the root ${rootFingerprint}; it was added to ${options.roots}.`);
      say(
        `Enroll its first agent from the console. Then: ${typedCommand()} segment roster sign, with --admit.`,
      );
    });

  command(segment, 'show', 'show who is in the roster and what waits to be signed').action(
    async (name: string, options: SegmentOptions) => {
      const api = await connectApi(options, config);
      const roots = await KnownRoots.read(options.roots, false);
      const owned = await readOwned(api, roots.named(name), await publicKeyOf(options.key, 'root'));
      await keepSeen(roots, owned);
      for (const line of describeOwned(owned)) say(line);
    },
  );

  const roster = segment.command('roster').description('the signed list of agents and keys of a segment');
  command(roster, 'sign', 'sign the next roster: admit agents, remove agents, name a new segment key')
    .addOption(
      new Option(
        '--admit <name=fingerprint>',
        'an agent to admit, with the fingerprint that node agent.mjs status shows on its machine; may be repeated',
      )
        .argParser(admitted)
        .default(new Map(), 'none'),
    )
    .addOption(
      new Option('--remove <name>', 'an agent to remove permanently; may be repeated')
        .argParser((name: string, before: string[]) => [...before, name])
        .default([], 'none'),
    )
    .option('--recovery <path>', 'file of the new recovery key of the segment')
    .option(
      '--drop-lost',
      'sign even if another roster may name a segment key that this one drops permanently',
    )
    .option(
      '--from-server <number>',
      'continue from this roster, which the server has, not from the one that is kept here',
      rosterNumber,
    )
    .option(...passphraseOption)
    .action(async (name: string, options: SignOptions) => {
      const api = await connectApi(options, config);
      const roots = await KnownRoots.read(options.roots, false);
      const owned = await readOwned(api, roots.named(name), await publicKeyOf(options.key, 'root'));
      const recoveryKey = await recoveryKeyOf(options.recovery);
      const { admit, remove, passphraseFile, fromServer } = options;
      const root = await openKeyFile(options.key, 'root', () => readPassphrase(passphraseFile));
      const decisions = { admit, remove, recoveryKey };
      const changes = await signNextRoster({ root, roots, api }, owned, decisions, {
        dropsLost: options.dropLost === true,
        fromServer,
      });
      root.privateKey.fill(0);
      if (changes.length === 0) say(`There is nothing to sign for segment ${name}.`);
      for (const change of changes) say(`Segment ${name}: ${change}.`);
    });
}

function admitted(text: string, before: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const [name, fingerprint] = [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)];
  if (name !== '' && text.includes('=') && /^SHA256:[A-Za-z0-9+/]{43}$/.test(fingerprint)) {
    return new Map([...before, [name, fingerprint]]);
  }
  throw new InvalidArgumentError(
    'Write NAME=SHA256:…, as the machine of the agent says: node agent.mjs status.',
  );
}

function rosterNumber(text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Give the number of a roster, as segment show prints it.');
}

async function recoveryKeyOf(path: string | undefined): Promise<string | undefined> {
  return path === undefined ? undefined : encodeBase64(await publicKeyOf(path, 'recovery'));
}

async function makeFolderOf(roots: string): Promise<void> {
  await makePrivateFolder(dirname(roots)).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AgentError(
      `The folder of --roots can't be made: ${why}.`,
      'Name a path that you may write with --roots.',
      {
        cause,
      },
    );
  });
}
