// The flags of a server, with their `--help` texts, and their raw values.
import { nearName } from '@opsconductor/protocol';
import { Command, CommanderError } from 'commander';
import { logLevels } from '../log.ts';
import { HelpRequested } from './config-problems.ts';

export type Flags = Partial<{
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

const variablesAlone = `
Variables without a flag:
  DATABASE_URL                  an existing PostgreSQL instead of the embedded one
  OPSCONDUCTOR_MASTER_KEY_FILE  file of the master key (default: <data>-keys/master-key.json, where <data> is the folder of --data)
  OPSCONDUCTOR_BOOTSTRAP_TOKEN  the administrator's first API token, read on the first start
  LOG_LEVEL                     ${logLevels.join(', ')} (default: info)`;

/** Returns the flags as text; unknown ones are added to `problems`. */
export function readFlags(argv: readonly string[], problems: string[]): Flags {
  let help = '';
  const command = new Command('npm start --')
    .description(
      'Runs the OpsConductor server. Each flag can also be set by the variable in brackets; the flag takes precedence. docs/operations.md explains everything.',
    )
    .option('--port <number>', 'port to listen on; 0 takes any free one (default: 7700) [OPSCONDUCTOR_PORT]')
    .option(
      '--listen <address>',
      'IP address, or localhost, to listen on (default: 127.0.0.1) [OPSCONDUCTOR_LISTEN]',
    )
    .option(
      '--data <folder>',
      'folder for the embedded database, TLS files and the demo (default: .opsconductor in the checkout) [OPSCONDUCTOR_DATA]',
    )
    .option('--no-demo', 'do not set up the demo on the first start [OPSCONDUCTOR_DEMO=false]')
    .option(
      '--public-url <url>',
      'address at which browsers and agents reach this server [OPSCONDUCTOR_PUBLIC_URL]',
    )
    .option(
      '--allowed-host <name>',
      'an additional host name to answer to; may be repeated [OPSCONDUCTOR_ALLOWED_HOSTS, separated by commas]',
      (name, names: string[] = []) => [...names, name],
    )
    .option('--tls', 'use TLS with a private CA even on a loopback address [OPSCONDUCTOR_TLS=true]')
    .option('--tls-cert <file>', 'certificate chain, PEM [OPSCONDUCTOR_TLS_CERT]')
    .option('--tls-key <file>', 'its private key, PEM [OPSCONDUCTOR_TLS_KEY]')
    .option(
      '--behind-tls-proxy',
      'a proxy in front terminates TLS: listen without TLS, and trust its X-Forwarded-For [OPSCONDUCTOR_BEHIND_TLS_PROXY=true]',
    )
    .option(
      '--drain-seconds <number>',
      'when stopping, keep serving for this long while /readyz answers 503, so that load balancers move away (default: 0) [OPSCONDUCTOR_DRAIN_SECONDS]',
    )
    .option(
      '--output-retention-days <number>',
      'remove output of runs that is older than this (default: keep it forever) [OPSCONDUCTOR_OUTPUT_RETENTION_DAYS]',
    )
    .option(
      '--run-retention-days <number>',
      'remove ended runs that are older than this (default: keep them forever) [OPSCONDUCTOR_RUN_RETENTION_DAYS]',
    )
    .option(
      '--file-retention-days <number>',
      'remove files that no job names and no step has used for this long (default: keep them forever) [OPSCONDUCTOR_FILE_RETENTION_DAYS]',
    )
    .option(
      '--detect-secrets',
      'mask private keys and tokens of well-known forms in the output of jobs that do not set detect_secrets [OPSCONDUCTOR_DETECT_SECRETS=true]',
    )
    .option(
      '--file-storage-gb <number>',
      'total space for uploaded files and artifacts (default: 50) [OPSCONDUCTOR_FILE_STORAGE_GB]',
    )
    .option(
      '--audit-checkpoints <file>',
      'append each signed checkpoint of the audit log to this file [OPSCONDUCTOR_AUDIT_CHECKPOINTS]',
    )
    .option(
      '--audit-retention-days <number>',
      'remove audit rows that were sealed longer ago than this (default: keep them forever) [OPSCONDUCTOR_AUDIT_RETENTION_DAYS]',
    )
    .option(
      '--session-idle-minutes <number>',
      'sign a browser out when it has not been used for this long (default: 720) [OPSCONDUCTOR_SESSION_IDLE_MINUTES]',
    )
    .option(
      '--session-max-hours <number>',
      'sign a browser out after this long, used or not (default: 168) [OPSCONDUCTOR_SESSION_MAX_HOURS]',
    )
    .option(
      '--api-token-max-days <number>',
      'longest lifetime of an API token (default: 365) [OPSCONDUCTOR_API_TOKEN_MAX_DAYS]',
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
    // Of options with a value, only its lack is refused here.
    const [, option] = /option '(--[^']+)' argument missing/.exec(error.message) ?? [];
    problems.push(
      option === undefined ? error.message.replace(/^error: /, '') : `${option}: the value is missing`,
    );
    return {};
  }
  problems.push(...leftOver(command));
  // Commander's default for --no-demo is true, but only an explicit flag may win over the variable.
  const { demo, ...flags } = command.opts<Flags>();
  return demo === false ? { ...flags, demo } : flags;
}

/** Returns a problem for each argument that belongs to no flag. */
function leftOver({ args, options }: Command): string[] {
  const names = options.flatMap(({ long }) => long ?? []);
  return args.flatMap((argument, at) => {
    if (argument.startsWith('-')) {
      const name = argument.split('=', 1)[0] ?? argument;
      const near = nearName(name, names);
      return `${name}: there is no such flag; ${near === undefined ? '--help lists them' : `did you mean ${near}?`}`;
    }
    // Probably the value of the flag before it, which is reported.
    if (args[at - 1]?.startsWith('--')) return [];
    // npm keeps a flag without the two hyphens before it to itself, and hands on its value alone.
    return `${argument}: belongs to no flag; flags go after --, as in npm start -- --port 7722`;
  });
}
