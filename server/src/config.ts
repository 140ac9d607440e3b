// The one place that reads flags and environment. A flag wins over its variable. Every wrong value is told of at once.
import { accessSync, constants } from 'node:fs';
import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import { limits } from '@opsconductor/protocol';
import { Command, CommanderError } from 'commander';
import type { IdentitySettings } from './auth/identity-deps.ts';
import { type LogLevel, logLevels } from './log.ts';

export interface Config {
  listen: { address: string; port: number };
  /** Absolute. */
  dataDir: string;
  /** Absolute; outside the data directory, so that a copy of that alone opens nothing. */
  masterKeyFile: string;
  demo: boolean;
  /** An existing PostgreSQL; undefined: the embedded one. */
  databaseUrl: string | undefined;
  /** Origin under which browsers and agents reach this server, without a trailing slash. */
  publicUrl: string | undefined;
  /** Names this server may be asked under, beside localhost and IP addresses; lower case, no port. */
  hosts: string[];
  tls: { mode: 'off' } | { mode: 'private_ca' } | { mode: 'files'; certFile: string; keyFile: string };
  behindTlsProxy: boolean;
  /** First API token of the administrator; read at the first start only. */
  bootstrapToken: string | undefined;
  /** How long sessions and API tokens may last. */
  identity: IdentitySettings;
  logLevel: LogLevel;
  /** How long a server that stops works on while it says that it is not ready, in seconds. */
  drainS: number;
  retention: {
    /** Undefined: kept for ever. */
    outputDays: number | undefined;
    runDays: number | undefined;
    /** Of files that no job names and no step uses. */
    fileDays: number | undefined;
  };
  /** Whether output of jobs that do not say it is masked by the form of secrets, too. */
  detectsSecrets: boolean;
  /** Bytes that files and artifacts may take together; undefined: the product's own. */
  maxStoredBytes: number | undefined;
  audit: {
    /** Absolute: where each checkpoint is appended to. */
    checkpointFile: string | undefined;
    /** Undefined: rows are kept for ever. */
    retentionDays: number | undefined;
  };
}

/** All that is wrong, a line each. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** Not a fault: `--help` was given. */
export class HelpRequested extends Error {
  readonly text: string;

  constructor(text: string) {
    super('help was requested');
    this.name = 'HelpRequested';
    this.text = text;
  }
}

type Environment = Readonly<Record<string, string | undefined>>;
type Flags = Partial<{
  port: string;
  listen: string;
  data: string;
  demo: boolean;
  publicUrl: string;
  allowedHost: string[];
  tls: boolean;
  tlsCert: string;
  tlsKey: string;
  behindTlsProxy: boolean;
  sessionIdleMinutes: string;
  sessionMaxHours: string;
  apiTokenMaxDays: string;
  auditCheckpoints: string;
  auditRetentionDays: string;
  drainSeconds: string;
  outputRetentionDays: string;
  runRetentionDays: string;
  fileStorageGb: string;
  fileRetentionDays: string;
  detectSecrets: boolean;
}>;
const repositoryRoot = resolve(import.meta.dirname, '../..');
const hostPattern = /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/;

/**
 * Reads the server's settings.
 *
 * @param argv arguments after the script's name.
 * @throws ConfigError naming every flag or variable that is wrong, what was found and what is allowed.
 * @throws HelpRequested
 */
export function readConfig(argv: readonly string[], env: Environment): Config {
  const problems: string[] = [];
  const flags = readFlags(argv, problems);
  const read = new SettingReader(env, problems);
  const publicUrl = read.text(
    '--public-url',
    'OPSCONDUCTOR_PUBLIC_URL',
    flags.publicUrl,
    publicUrlOf,
    'an http or https URL without path: https://opsconductor.example.com',
  );
  const dataDir = resolve(
    flags.data ?? filled(env.OPSCONDUCTOR_DATA) ?? join(repositoryRoot, '.opsconductor'),
  );
  const address =
    read.text('--listen', 'OPSCONDUCTOR_LISTEN', flags.listen, addressOf, 'an IP address, or localhost') ??
    '127.0.0.1';
  const port =
    read.text(
      '--port',
      'OPSCONDUCTOR_PORT',
      flags.port,
      portOf,
      'an integer from 0 to 65535; 0 takes any free port',
    ) ?? 7700;
  const behindTlsProxy = flags.behindTlsProxy ?? read.flag('OPSCONDUCTOR_BEHIND_TLS_PROXY') ?? false;
  const tls = readTls(flags, read, { behindTlsProxy, isLoopback: isLoopback(address) });
  checkPublicUrl(publicUrl, tls.mode !== 'off' || behindTlsProxy, problems);
  const config: Config = {
    listen: { address, port },
    dataDir,
    masterKeyFile: resolve(
      filled(env.OPSCONDUCTOR_MASTER_KEY_FILE) ?? join(`${dataDir}-keys`, 'master-key.json'),
    ),
    demo: flags.demo === false ? false : (read.flag('OPSCONDUCTOR_DEMO') ?? true),
    databaseUrl: read.secret(
      'DATABASE_URL',
      databaseUrlOf,
      'a URL: postgres://user:password@host:5432/database',
    ),
    publicUrl,
    hosts: readHosts(flags, env, publicUrl, problems),
    tls,
    behindTlsProxy,
    bootstrapToken: read.secret(
      'OPSCONDUCTOR_BOOTSTRAP_TOKEN',
      bootstrapTokenOf,
      '32 to 512 letters, digits or -._~+/=',
    ),
    identity: readIdentity(flags, read),
    logLevel: read.text('LOG_LEVEL', 'LOG_LEVEL', undefined, logLevelOf, logLevels.join(', ')) ?? 'info',
    drainS:
      read.text(
        '--drain-seconds',
        'OPSCONDUCTOR_DRAIN_SECONDS',
        flags.drainSeconds,
        (text) => (/^\d{1,3}$/.test(text) && Number(text) <= 300 ? Number(text) : undefined),
        'an integer from 0 to 300',
      ) ?? 0,
    retention: readRetention(flags, read),
    detectsSecrets: flags.detectSecrets ?? read.flag('OPSCONDUCTOR_DETECT_SECRETS') ?? false,
    maxStoredBytes: read.text(
      '--file-storage-gb',
      'OPSCONDUCTOR_FILE_STORAGE_GB',
      flags.fileStorageGb,
      (text) =>
        /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 10_000
          ? Number(text) * 1024 ** 3
          : undefined,
      'an integer from 1 to 10000',
    ),
    audit: {
      checkpointFile: read.text(
        '--audit-checkpoints',
        'OPSCONDUCTOR_AUDIT_CHECKPOINTS',
        flags.auditCheckpoints,
        (path) => resolve(path),
        'a file',
      ),
      retentionDays: read.text(
        '--audit-retention-days',
        'OPSCONDUCTOR_AUDIT_RETENTION_DAYS',
        flags.auditRetentionDays,
        retentionDaysOf,
        'an integer from 30 to 36500; without it audit rows are kept for ever',
      ),
    },
  };
  if (problems.length > 0) throw new ConfigError(problems);
  return config;
}

const variablesAlone = `
Variables without a flag:
  DATABASE_URL                  an existing PostgreSQL in place of the embedded one
  OPSCONDUCTOR_MASTER_KEY_FILE  the master key (default: master-key.json in the folder of --data with -keys at its end)
  OPSCONDUCTOR_BOOTSTRAP_TOKEN  on the first start the administrator's first API token
  LOG_LEVEL                     ${logLevels.join(', ')} (default: info)`;

function readFlags(argv: readonly string[], problems: string[]): Flags {
  let help = '';
  const command = new Command('npm start --')
    .description(
      'The OpsConductor server. In brackets is the variable that says the same; the flag wins. All of it is in docs/operations.md.',
    )
    .option('--port <number>', 'port to listen on; 0 takes any free one (default: 7700) [OPSCONDUCTOR_PORT]')
    .option(
      '--listen <address>',
      'IP address, or localhost, to listen on (default: 127.0.0.1) [OPSCONDUCTOR_LISTEN]',
    )
    .option(
      '--data <folder>',
      'where embedded database, TLS files and demo are (default: .opsconductor beside the code) [OPSCONDUCTOR_DATA]',
    )
    .option(
      '--no-demo',
      'do not set up the demonstration segment on the first start [OPSCONDUCTOR_DEMO=false]',
    )
    .option(
      '--public-url <url>',
      'address under which browsers and agents reach this server [OPSCONDUCTOR_PUBLIC_URL]',
    )
    .option(
      '--allowed-host <name>',
      'a further host name to answer to; may be repeated [OPSCONDUCTOR_ALLOWED_HOSTS, with commas]',
      (name, names: string[] = []) => [...names, name],
    )
    .option('--tls', 'use TLS with a private CA also on a loopback address [OPSCONDUCTOR_TLS=true]')
    .option('--tls-cert <file>', 'certificate chain, PEM [OPSCONDUCTOR_TLS_CERT]')
    .option('--tls-key <file>', 'its private key, PEM [OPSCONDUCTOR_TLS_KEY]')
    .option(
      '--behind-tls-proxy',
      'a proxy in front ends TLS: listen without it, and trust its X-Forwarded-For [OPSCONDUCTOR_BEHIND_TLS_PROXY=true]',
    )
    .option(
      '--drain-seconds <number>',
      'when stopping, first say so to a load balancer for so long (default: 0) [OPSCONDUCTOR_DRAIN_SECONDS]',
    )
    .option(
      '--output-retention-days <number>',
      'remove older output of runs (default: keep it for ever) [OPSCONDUCTOR_OUTPUT_RETENTION_DAYS]',
    )
    .option(
      '--run-retention-days <number>',
      'remove older runs (default: keep them for ever) [OPSCONDUCTOR_RUN_RETENTION_DAYS]',
    )
    .option(
      '--file-retention-days <number>',
      'remove files that no job names and no step has used for so long (default: keep them for ever) [OPSCONDUCTOR_FILE_RETENTION_DAYS]',
    )
    .option(
      '--detect-secrets',
      'mask private keys and tokens of well-known forms in the output of jobs that do not say whether to [OPSCONDUCTOR_DETECT_SECRETS=true]',
    )
    .option(
      '--file-storage-gb <number>',
      'what files and artifacts may take together (default: 50) [OPSCONDUCTOR_FILE_STORAGE_GB]',
    )
    .option(
      '--audit-checkpoints <file>',
      'append each signed checkpoint of the audit log to this file [OPSCONDUCTOR_AUDIT_CHECKPOINTS]',
    )
    .option(
      '--audit-retention-days <number>',
      'remove older audit rows (default: keep them for ever) [OPSCONDUCTOR_AUDIT_RETENTION_DAYS]',
    )
    .option(
      '--session-idle-minutes <number>',
      'sign a browser out when it was not used for so long (default: 720) [OPSCONDUCTOR_SESSION_IDLE_MINUTES]',
    )
    .option(
      '--session-max-hours <number>',
      'sign a browser out after so long, used or not (default: 168) [OPSCONDUCTOR_SESSION_MAX_HOURS]',
    )
    .option(
      '--api-token-max-days <number>',
      'the longest that an API token may last (default: 365) [OPSCONDUCTOR_API_TOKEN_MAX_DAYS]',
    )
    .addHelpText('after', variablesAlone)
    .allowUnknownOption()
    .allowExcessArguments()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => {
        help += text;
      },
      writeErr: () => {},
    });
  try {
    command.parse([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === 'commander.helpDisplayed') throw new HelpRequested(help);
    problems.push(error.message.replace(/^error: /, ''));
    return {};
  }
  for (const argument of command.args) {
    problems.push(`${argument.split('=', 1)[0]}: there is no such flag; --help lists them`);
  }
  // Commander's default for --no-demo is true; only an explicit flag may win over the variable.
  const { demo, ...flags } = command.opts<Flags>();
  return demo === false ? { ...flags, demo } : flags;
}

/** Reads one setting at a time and notes what is wrong. */
class SettingReader {
  readonly #env: Environment;
  readonly problems: string[];

  constructor(env: Environment, problems: string[]) {
    this.#env = env;
    this.problems = problems;
  }

  text<T>(
    flag: string,
    variable: string,
    given: string | undefined,
    parse: (text: string) => T | undefined,
    allowed: string,
  ): T | undefined {
    const text = given ?? filled(this.#env[variable]);
    if (text === undefined) return undefined;
    const value = parse(text.trim());
    if (value === undefined)
      this.problems.push(
        `${given === undefined ? variable : flag}: found ${JSON.stringify(text)}; allowed: ${allowed}`,
      );
    return value;
  }

  /** From the environment only: arguments are there for every user of the machine to read. */
  secret(variable: string, isValid: (text: string) => boolean, allowed: string): string | undefined {
    const text = filled(this.#env[variable]);
    if (text === undefined || isValid(text)) return text;
    this.problems.push(
      `${variable}: what was found (${text.length} characters, not shown) is not allowed; allowed: ${allowed}`,
    );
    return undefined;
  }

  flag(variable: string): boolean | undefined {
    const words: Record<string, boolean> = {
      true: true,
      '1': true,
      yes: true,
      false: false,
      '0': false,
      no: false,
    };
    return this.text(variable, variable, undefined, (text) => words[text.toLowerCase()], 'true or false');
  }
}

function readTls(
  flags: Flags,
  read: SettingReader,
  where: { behindTlsProxy: boolean; isLoopback: boolean },
): Config['tls'] {
  const certFile = read.text(
    '--tls-cert',
    'OPSCONDUCTOR_TLS_CERT',
    flags.tlsCert,
    readableFileOf,
    'a file that can be read',
  );
  const keyFile = read.text(
    '--tls-key',
    'OPSCONDUCTOR_TLS_KEY',
    flags.tlsKey,
    readableFileOf,
    'a file that can be read',
  );
  const wantsTls = flags.tls ?? read.flag('OPSCONDUCTOR_TLS') ?? false;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    read.problems.push(
      '--tls-cert and --tls-key: only one of them can be used as given; allowed: both, or neither',
    );
  }
  if (where.behindTlsProxy && (wantsTls || certFile !== undefined)) {
    read.problems.push('--behind-tls-proxy: found together with TLS of this server; allowed: one of them');
  }
  if (where.behindTlsProxy) return { mode: 'off' };
  if (certFile !== undefined && keyFile !== undefined) return { mode: 'files', certFile, keyFile };
  // Beyond loopback there is no plain HTTP: tokens and passwords would cross the network readable.
  return wantsTls || !where.isLoopback ? { mode: 'private_ca' } : { mode: 'off' };
}

function readIdentity(flags: Flags, read: SettingReader): IdentitySettings {
  const number = (flag: string, given: string | undefined, max: number) =>
    read.text(
      flag,
      `OPSCONDUCTOR_${flag.slice(2).replaceAll('-', '_').toUpperCase()}`,
      given,
      (text) => (/^[1-9]\d{0,6}$/.test(text) && Number(text) <= max ? Number(text) : undefined),
      `a whole number from 1 to ${max}`,
    );
  const idleMinutes = number('--session-idle-minutes', flags.sessionIdleMinutes, 10_080);
  const maxHours = number('--session-max-hours', flags.sessionMaxHours, 8_760);
  return {
    session: {
      idleMs: idleMinutes === undefined ? limits.sessionIdleMs : idleMinutes * 60_000,
      absoluteMs: maxHours === undefined ? limits.sessionAbsoluteMs : maxHours * 3_600_000,
    },
    apiTokenMaxDays: number('--api-token-max-days', flags.apiTokenMaxDays, 3_650) ?? limits.apiTokenMaxDays,
  };
}

function readRetention(flags: Flags, read: SettingReader): Config['retention'] {
  const days = (flag: string, variable: string, given: string | undefined) =>
    read.text(
      flag,
      variable,
      given,
      (text) => (/^[1-9]\d{0,4}$/.test(text) && Number(text) <= 36_500 ? Number(text) : undefined),
      'an integer from 1 to 36500; without it nothing is removed',
    );
  const retention = {
    outputDays: days(
      '--output-retention-days',
      'OPSCONDUCTOR_OUTPUT_RETENTION_DAYS',
      flags.outputRetentionDays,
    ),
    runDays: days('--run-retention-days', 'OPSCONDUCTOR_RUN_RETENTION_DAYS', flags.runRetentionDays),
    fileDays: days('--file-retention-days', 'OPSCONDUCTOR_FILE_RETENTION_DAYS', flags.fileRetentionDays),
  };
  const { outputDays, runDays } = retention;
  if (runDays !== undefined && outputDays !== undefined && runDays < outputDays) {
    read.problems.push(
      `--run-retention-days: found ${runDays}; allowed: ${outputDays} or more, as output is kept for so long and goes with its run`,
    );
  }
  return retention;
}

function readHosts(
  flags: Flags,
  env: Environment,
  publicUrl: string | undefined,
  problems: string[],
): string[] {
  const fromFlags = flags.allowedHost ?? [];
  const given = fromFlags.length > 0 ? fromFlags : (filled(env.OPSCONDUCTOR_ALLOWED_HOSTS)?.split(',') ?? []);
  const hosts = given.map((name) => name.trim().toLowerCase());
  const name = fromFlags.length > 0 ? '--allowed-host' : 'OPSCONDUCTOR_ALLOWED_HOSTS';
  for (const host of hosts) {
    if (!hostPattern.test(host))
      problems.push(`${name}: found ${JSON.stringify(host)}; allowed: a host name without port or wildcard`);
  }
  if (publicUrl !== undefined) hosts.push(new URL(publicUrl).hostname);
  return [...new Set(hosts)];
}

function checkPublicUrl(publicUrl: string | undefined, isHttps: boolean, problems: string[]): void {
  if (publicUrl === undefined || publicUrl.startsWith('https:') === isHttps) return;
  problems.push(
    `--public-url: found ${JSON.stringify(publicUrl)}; allowed here: ${isHttps ? 'https' : 'http'}, as ${isHttps ? 'browsers reach this server by TLS' : 'this server has no TLS; give --tls-cert and --tls-key, or --behind-tls-proxy'}`,
  );
}

/** Whether only this machine can connect. */
export function isLoopback(address: string): boolean {
  return address === 'localhost' || address === '::1' || /^127\.\d+\.\d+\.\d+$/.test(address);
}

function filled(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === '' ? undefined : text;
}

function portOf(text: string): number | undefined {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined;
}

function retentionDaysOf(text: string): number | undefined {
  const days = /^\d{2,5}$/.test(text) ? Number(text) : 0;
  return days >= 30 && days <= 36_500 ? days : undefined;
}

function addressOf(text: string): string | undefined {
  return isIP(text) !== 0 || text === 'localhost' ? text : undefined;
}

function publicUrlOf(text: string): string | undefined {
  const url = urlOf(text);
  const isOrigin = url !== undefined && /^https?:$/.test(url.protocol) && `${url.origin}/` === url.href;
  return isOrigin ? url.origin : undefined;
}

function urlOf(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

function logLevelOf(text: string): LogLevel | undefined {
  return logLevels.find((level) => level === text.toLowerCase());
}

function readableFileOf(text: string): string | undefined {
  try {
    accessSync(text, constants.R_OK);
    return resolve(text);
  } catch {
    return undefined;
  }
}

function databaseUrlOf(text: string): boolean {
  const url = urlOf(text);
  return url !== undefined && /^postgres(ql)?:$/.test(url.protocol) && url.pathname.length > 1;
}

function bootstrapTokenOf(text: string): boolean {
  return /^[\w.~+/=-]{32,512}$/.test(text);
}

/** The process's environment; everybody else gets what `readConfig` made of it. */
export function readEnvironment(): Environment {
  return process.env;
}
