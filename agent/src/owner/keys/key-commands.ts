// `opsconductor.mjs key …`: the keys that an owner keeps and no server ever has.
import { type Command, Option } from 'commander';
import { type KeyPurpose, keyPurposes, makeKeyFile, readKeyFile } from './key-file.ts';
import { readPassphrase } from './passphrase.ts';

/** For every command that opens a key file. */
export const passphraseOption = [
  '--passphrase-file <path>',
  'file with the passphrase of the key; - for standard input; otherwise you are asked at the terminal',
] as const;

/** @param say prints a line. */
export function addKeyCommands(program: Command, say: (line: string) => void): void {
  const key = program
    .command('key')
    .description('keys that stay on this machine, encrypted with a passphrase');
  key
    .command('make')
    .description('make a key and write it to a new file')
    .argument('<file>', 'the new file')
    .addOption(
      new Option(
        '--purpose <purpose>',
        'root: signs the rosters of segments; signer: signs runs; recovery: opens segments whose agents are lost',
      )
        .choices(keyPurposes)
        .makeOptionMandatory(),
    )
    .option(...passphraseOption)
    .action(async (file: string, options: { purpose: KeyPurpose; passphraseFile?: string }) => {
      const passphrase = await readPassphrase(options.passphraseFile, true);
      const made = await makeKeyFile(file, options.purpose, passphrase);
      say(`${file}: ${made.purpose} key ${made.fingerprint}`);
      say('Keep a copy of the file, and the passphrase elsewhere: nobody can recreate this key.');
    });
  key
    .command('show')
    .description('show what a key file holds, without asking for its passphrase')
    .argument('<file>', 'the key file')
    .action(async (file: string) => {
      const { purpose, publicKey, fingerprint } = await readKeyFile(file);
      say(`purpose      ${purpose}`);
      say(`fingerprint  ${fingerprint}`);
      say(`public key   ${publicKey}`);
    });
}
