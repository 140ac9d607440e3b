// `opsconductor credential seal`: secrets come from files or standard input, bounds from the command line.

import type { CredentialKind, CredentialSecret } from '@opsconductor/protocol/sealing';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { AgentError } from '../../agent-error.ts';
import type { Config } from '../../config.ts';
import { KnownRoots } from '../../start-run/known-roots.ts';
import { readSource } from '../../start-run/read-given.ts';
import { connectApi, type ServerOptions, withServerOptions } from '../server-options.ts';
import { storeSealed } from './seal-credential.ts';

interface SealOptions extends ServerOptions {
  segment: string;
  roots: string;
  learnRoots: boolean;
  kind: SealedKind;
  user: string;
  secretFile?: string;
  source?: string;
  keyPassphraseFile?: string;
  becomePasswordFile?: string;
  host: string[];
  network: string[];
  port: number[];
  description?: string;
  expiresOn?: string;
  replace: boolean;
}

const sshPassword = {
  protocol: 'ssh',
  ports: [22],
  authentication: ['password', 'keyboard-interactive'],
} as const;
const sshKey = { protocol: 'ssh', ports: [22], authentication: ['publickey'] } as const;
const winrmPassword = { protocol: 'winrm', ports: [5986], authentication: ['ntlm', 'kerberos'] } as const;

/** The kinds with a user and one secret, each with its ways to authenticate and its default port. */
const kinds = {
  ssh_password: sshPassword,
  ssh_private_key: sshKey,
  winrm_password: winrmPassword,
  ssh_password_source: sshPassword,
  ssh_key_source: sshKey,
  winrm_password_source: winrmPassword,
} as const satisfies Partial<Record<CredentialKind, unknown>>;
type SealedKind = keyof typeof kinds;

/** @param say prints a line. */
export function addCredentialCommands(program: Command, config: Config, say: (line: string) => void): void {
  const credential = program
    .command('credential')
    .description('credentials that only agents of a segment can open');
  const several = (text: string, before: string[]) => [...before, text];
  withServerOptions(
    credential.command('seal').description('seal a credential on this machine and store it on the server'),
  )
    .argument('<name>', 'name of the credential')
    .requiredOption('--segment <name>', 'name of the segment; its root must be in the file of --roots')
    .option('--roots <path>', 'file of the roots of segments that you know', config.defaultRoots)
    .option('--learn-roots', 'add the segment to the file of --roots if it is not in it', false)
    .addOption(
      new Option('--kind <kind>', 'kind of the credential').choices(Object.keys(kinds)).makeOptionMandatory(),
    )
    .requiredOption('--user <name>', 'user to log in as; the bounds allow no other user')
    .option('--secret-file <path>', 'file with the password or private key; - for standard input')
    .option(
      '--source <name>',
      'name of the source in the agents’ policy files, instead of --secret-file, for a kind that ends in _source',
    )
    .option('--key-passphrase-file <path>', 'file with the passphrase of the private key')
    .option('--become-password-file <path>', 'file with the password for sudo or su')
    .addOption(
      new Option('--host <pattern>', 'bounds: a host as targets name it, or a pattern; may be repeated')
        .argParser(several)
        .default([], 'any'),
    )
    .addOption(
      new Option('--network <cidr>', 'bounds: a network that every address must be in; may be repeated')
        .argParser(several)
        .default([], 'any'),
    )
    .addOption(
      new Option('--port <number>', 'bounds: a port; may be repeated')
        .argParser(ports)
        .default([], '22, or 5986 for WinRM'),
    )
    .option('--description <text>', 'stored unencrypted with the sealed secret')
    .option('--expires-on <day>', 'last day on which the secret should be used: 2027-01-31')
    .option('--replace', 'replace the credential of this name', false)
    .action(async (name: string, options: SealOptions) => {
      const secret = await readSecret(options);
      const api = await connectApi(options, config);
      const roots = await KnownRoots.read(options.roots, options.learnRoots);
      const { segment: segmentName, description, expiresOn, replace } = options;
      const stored = await storeSealed(api, roots, {
        segmentName,
        name,
        description,
        expiresOn,
        secret,
        replace,
      });
      say(
        `Credential ${name} of segment ${segmentName} is sealed: version ${stored.version}, generation ${stored.generation}. ${describeBounds(secret.bounds)}`,
      );
    });
}

/** Nobody can read them back from the server: they are sealed with the secret. */
export function describeBounds({ user, hosts, networks, ports }: CredentialSecret['bounds']): string {
  const where = hosts.length === 0 ? 'any host' : hosts.join(', ');
  const within = networks.length === 0 ? '' : ` in ${networks.join(', ')}`;
  return `Agents use it as ${user} only, on ${where}${within}, port ${ports.join(', ')}.`;
}

async function readSecret(options: SealOptions): Promise<CredentialSecret> {
  const { kind, user, host, network } = options;
  const { protocol, authentication, ports } = kinds[kind];
  const bounds = {
    hosts: host,
    networks: network,
    user,
    protocols: [protocol],
    authentication: [...authentication],
    ports: options.port.length === 0 ? [...ports] : options.port,
  };
  const become = await readLine(options.becomePasswordFile, '--become-password-file');
  const becomes = become === undefined ? {} : { becomePassword: become };
  if (kind === 'winrm_password_source') return { kind, user, source: sourceOf(options), bounds };
  if (kind === 'ssh_password_source') return { kind, user, source: sourceOf(options), ...becomes, bounds };
  if (kind === 'ssh_key_source') {
    const source = sourceOf(options);
    return { kind, user, source, ...(await readPassphrase(options)), ...becomes, bounds };
  }
  const given = await readSource(secretFileOf(options), '--secret-file');
  if (kind === 'winrm_password') return { kind, user, password: withoutNewline(given), bounds };
  if (kind === 'ssh_password') return { kind, user, password: withoutNewline(given), ...becomes, bounds };
  refuseOtherThanKey(given);
  return { kind, user, privateKey: given, ...(await readPassphrase(options)), ...becomes, bounds };
}

async function readPassphrase({ keyPassphraseFile }: SealOptions): Promise<{ passphrase?: string }> {
  const passphrase = await readLine(keyPassphraseFile, '--key-passphrase-file');
  return passphrase === undefined ? {} : { passphrase };
}

function sourceOf({ kind, source, secretFile }: SealOptions): string {
  if (source !== undefined && secretFile === undefined) return source;
  throw new AgentError(
    `A ${kind} names where the agents read the secret, and holds none.`,
    'Give --source, and leave out --secret-file. Nothing was sent.',
  );
}

function secretFileOf({ kind, source, secretFile }: SealOptions): string {
  if (secretFile !== undefined && source === undefined) return secretFile;
  throw new AgentError(
    `A ${kind} holds its secret.`,
    `Give --secret-file, and leave out --source${kind === 'ssh_private_key' ? '; ssh_key_source' : `; ${kind}_source`} is the kind that names one. Nothing was sent.`,
  );
}

/** The public half lies next to it, under nearly the same name. */
function refuseOtherThanKey(text: string): void {
  if (/^\s*(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----|PuTTY-User-Key-File-)/.test(text)) return;
  throw new AgentError(
    'The file of --secret-file holds no private key.',
    'Name the private one, without “.pub”: OpenSSH, PEM or PuTTY. Nothing was sent.',
  );
}

async function readLine(source: string | undefined, option: string): Promise<string | undefined> {
  return source === undefined ? undefined : withoutNewline(await readSource(source, option));
}

/** Editors and `echo` end a file with a line end. */
function withoutNewline(text: string): string {
  return text.replace(/\r?\n$/, '');
}

function ports(text: string, before: number[]): number[] {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return [...before, port];
  throw new InvalidArgumentError('Give a whole number from 1 to 65535.');
}
