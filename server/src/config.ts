// The only place that reads flags and the environment. A flag wins over its variable. All wrong values are reported
// together.
import { join, resolve } from 'node:path';
import type { IdentitySettings } from './auth/identity-deps.ts';
import { ConfigError } from './config/config-problems.ts';
import { readFlags } from './config/flags.ts';
import { readDatabaseUrl } from './config/read-database-url.ts';
import { readHosts } from './config/read-hosts.ts';
import { readIdentity, readRetention } from './config/read-periods.ts';
import { checkPublicUrl, isLoopback, readTls } from './config/read-tls.ts';
import { type Environment, SettingReader } from './config/setting-reader.ts';
import {
  addressOf,
  bootstrapTokenOf,
  logLevelOf,
  portOf,
  publicUrlOf,
  retentionDaysOf,
} from './config/setting-values.ts';
import { type LogLevel, logLevels } from './log.ts';

export interface Config {
  listen: { address: string; port: number };
  /** Absolute. */
  dataDir: string;
  /** Absolute. Outside the data directory, so that a copy of that directory alone can't decrypt anything. */
  masterKeyFile: string;
  demo: boolean;
  /** URL of an existing PostgreSQL; `undefined` for the embedded one. */
  databaseUrl: string | undefined;
  /** Origin under which browsers and agents reach this server, without a trailing slash. */
  publicUrl: string | undefined;
  /** Names under which this server may be asked, besides localhost and IP addresses; lower case, no port. */
  hosts: string[];
  tls: { mode: 'off' } | { mode: 'private_ca' } | { mode: 'files'; certFile: string; keyFile: string };
  behindTlsProxy: boolean;
  /** First API token of the administrator; read only at the first start. */
  bootstrapToken: string | undefined;
  /** How long sessions and API tokens may last. */
  identity: IdentitySettings;
  logLevel: LogLevel;
  /** How long a stopping server keeps serving while it reports that it is not ready, in seconds. */
  drainS: number;
  retention: {
    /** `undefined`: kept forever. */
    outputDays: number | undefined;
    runDays: number | undefined;
    /** For files that no job names and no step uses. */
    fileDays: number | undefined;
  };
  /** Whether output is also masked by the form of secrets, for jobs that don't set this themselves. */
  detectsSecrets: boolean;
  /** How many bytes files and artifacts may take together; `undefined` for the default. */
  maxStoredBytes: number | undefined;
  audit: {
    /** File to which each checkpoint is appended; absolute. */
    checkpointFile: string | undefined;
    /** `undefined`: rows are kept forever. */
    retentionDays: number | undefined;
  };
  /** What to tell about variables that look like settings and are none. */
  unknownVariables: string[];
}

const repositoryRoot = resolve(import.meta.dirname, '../..');

/**
 * Reads the server's settings.
 *
 * @param argv arguments after the script's name.
 * @throws {ConfigError} naming every flag or variable that is wrong, what was found and what is allowed.
 * @throws {HelpRequested}
 */
export function readConfig(argv: readonly string[], env: Environment): Config {
  const problems: string[] = [];
  const flags = readFlags(argv, problems);
  const read = new SettingReader(env, problems);
  const publicUrl = read.text(
    { flag: '--public-url', variable: 'OPSCONDUCTOR_PUBLIC_URL', given: flags.publicUrl },
    publicUrlOf,
    'an http or https URL without path: https://opsconductor.example.com',
  );
  const dataDir =
    read.text(
      { flag: '--data', variable: 'OPSCONDUCTOR_DATA', given: flags.data },
      (path) => resolve(path),
      'a folder',
    ) ?? join(repositoryRoot, '.opsconductor');
  const address =
    read.text(
      { flag: '--listen', variable: 'OPSCONDUCTOR_LISTEN', given: flags.listen },
      addressOf,
      'an IP address, or localhost',
    ) ?? '127.0.0.1';
  const port =
    read.text(
      { flag: '--port', variable: 'OPSCONDUCTOR_PORT', given: flags.port },
      portOf,
      'a whole number from 0 to 65535; 0 takes any free port',
    ) ?? 7700;
  const behindTlsProxy = read.flag('OPSCONDUCTOR_BEHIND_TLS_PROXY', flags.behindTlsProxy) ?? false;
  const tls = readTls(flags, read, { behindTlsProxy, isLoopback: isLoopback(address) });
  checkPublicUrl(publicUrl, tls.mode !== 'off' || behindTlsProxy, problems);
  const databaseUrl = readDatabaseUrl(read);
  const config: Config = {
    listen: { address, port },
    dataDir,
    masterKeyFile: resolve(
      read.variable('OPSCONDUCTOR_MASTER_KEY_FILE') ?? join(`${dataDir}-keys`, 'master-key.json'),
    ),
    demo: read.flag('OPSCONDUCTOR_DEMO', flags.demo === false ? false : undefined) ?? true,
    databaseUrl,
    publicUrl,
    hosts: readHosts(flags, read, publicUrl),
    tls,
    behindTlsProxy,
    bootstrapToken: read.secret(
      'OPSCONDUCTOR_BOOTSTRAP_TOKEN',
      bootstrapTokenOf,
      '32 to 512 letters, digits or -._~+/=',
    ),
    identity: readIdentity(flags, read),
    logLevel:
      read.text(
        { flag: 'LOG_LEVEL', variable: 'LOG_LEVEL', given: undefined },
        logLevelOf,
        logLevels.join(', '),
      ) ?? 'info',
    drainS:
      read.text(
        { flag: '--drain-seconds', variable: 'OPSCONDUCTOR_DRAIN_SECONDS', given: flags.drainSeconds },
        (text) => (/^\d{1,3}$/.test(text) && Number(text) <= 300 ? Number(text) : undefined),
        'a whole number of seconds from 0 to 300',
      ) ?? 0,
    retention: readRetention(flags, read),
    detectsSecrets: read.flag('OPSCONDUCTOR_DETECT_SECRETS', flags.detectSecrets) ?? false,
    maxStoredBytes: read.text(
      { flag: '--file-storage-gb', variable: 'OPSCONDUCTOR_FILE_STORAGE_GB', given: flags.fileStorageGb },
      (text) =>
        /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 10_000
          ? Number(text) * 1024 ** 3
          : undefined,
      'a whole number from 1 to 10000',
    ),
    audit: {
      checkpointFile: read.text(
        {
          flag: '--audit-checkpoints',
          variable: 'OPSCONDUCTOR_AUDIT_CHECKPOINTS',
          given: flags.auditCheckpoints,
        },
        (path) => resolve(path),
        'a file',
      ),
      retentionDays: read.text(
        {
          flag: '--audit-retention-days',
          variable: 'OPSCONDUCTOR_AUDIT_RETENTION_DAYS',
          given: flags.auditRetentionDays,
        },
        retentionDaysOf,
        'a whole number of days from 30 to 36500; without it, audit rows are kept forever',
      ),
    },
    unknownVariables: [],
  };
  if (problems.length > 0) throw new ConfigError(problems);
  config.unknownVariables.push(...read.unknownVariables());
  return config;
}

/** The process's environment, for the commands. All other code gets what `readConfig` made of it. */
export function readEnvironment(): Environment {
  return process.env;
}
