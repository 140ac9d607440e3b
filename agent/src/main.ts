// The agent's command: `node agent.mjs`, or the executable made from it.
import { hostname } from 'node:os';
import { limits, winrmAuthentications, winrmTransports } from '@opsconductor/protocol';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { startAgent } from './agent.ts';
import { AgentError } from './agent-error.ts';
import { watchOutput } from './command-line/lost-output.ts';
import { agentCommand, fromHere, typedCommand } from './command-line/typed-command.ts';
import { visible, visibleText } from './command-line/visible.ts';
import { describeStatus, examine } from './commands/doctor.ts';
import { newKeys } from './commands/new-keys.ts';
import { StopSignals } from './commands/stop-signals.ts';
import { useServer } from './commands/use-server.ts';
import { type VerifyWinrm, verifyWinrm } from './commands/verify-winrm.ts';
import {
  apiTokenVariable,
  type Config,
  enrollmentTokenVariable,
  maxLoadVariable,
  maxRssVariable,
  readConfig,
} from './config.ts';
import { enroll } from './enrollment/enroll.ts';
import { readToken } from './enrollment/read-token.ts';
import { explainFileError } from './explain-error.ts';
import { dataDirectory } from './identity/data-directory.ts';
import { fingerprintOf } from './identity/identity.ts';
import { createLog, type Logger, logLevels } from './log.ts';
import { letHeapGrow } from './memory/heap-growth.ts';
import { emptyPolicy, readPolicy } from './policy/agent-policy.ts';
import { describePolicy } from './policy/describe-policy.ts';
import { readApiToken, readRequest, readSecrets } from './start-run/read-given.ts';
import { startRun } from './start-run/start-run.ts';
import { agentVersion } from './version.ts';

/**
 * Wrong usage also exits with 1, as commander does. 78 (EX_CONFIG of sysexits) asks a supervisor not to restart. 3 and 4
 * are only of `status`, as of that of any service: it does not run, and nobody can tell.
 */
const exitCodes = { failed: 1, notRunning: 3, notEnrolled: 4, quarantined: 78 } as const;
const statusCodes = {
  running: 0,
  stopped: exitCodes.notRunning,
  notEnrolled: exitCodes.notEnrolled,
} as const;
const drainGraceMs = 30_000;

const config = readConfig();
if (!logLevels.includes(config.logLevel)) {
  process.stderr.write(
    `error: OPSCONDUCTOR_LOG_LEVEL is "${visible(config.logLevel)}", which is not a level.\n       Use one of ${logLevels.join(', ')}.\n`,
  );
  process.exit(exitCodes.failed);
}
// A log that can't be written (its disk is full, its reader has gone) must not end the agent. Later lines are written
// again once they can be.
process.stderr.on('error', () => {});
watchOutput(exitCodes.failed);
const log = createLog({ plain: process.stderr.isTTY, level: config.logLevel });
process.on('unhandledRejection', (error) => {
  log.fatal({ err: error }, 'unhandled error (a bug, please report it); the agent ends with exit code 1');
  process.exit(exitCodes.failed);
});

// Not awaited, because an executable of Node.js contains no module that waits at its top level.
void buildProgram(config, log)
  .parseAsync()
  .catch((error: unknown) => {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode;
      return;
    }
    const told = error instanceof AgentError ? error : explainFileError(error);
    if (told === undefined) throw error;
    process.stderr.write(`error: ${visibleText(told.message)}\n       ${visibleText(told.fix)}\n`);
    process.exitCode = exitCodes.failed;
  });

/** An empty path is a variable of the caller that was not set, and would mean the folder that the caller stands in. */
function folderFromHere(path: string): string {
  if (path.trim() === '')
    throw new InvalidArgumentError('It is empty: name a folder, or leave the option out.');
  return fromHere(path);
}

function buildProgram(config: Config, log: Logger): Command {
  const program = new Command(typedCommand())
    .description('Runs the steps that an OpsConductor server leases to it. It only ever dials out.')
    .version(agentVersion)
    .showHelpAfterError()
    // It would end the process before a help that can't be written is known not to be.
    .exitOverride()
    // Wrong arguments are repeated in errors, and may be names that a server told.
    .configureOutput({ outputError: (text, write) => write(`${visibleText(text.trimEnd())}\n`) });
  const dataOption = [
    '--data <directory>',
    'folder of this agent’s keys, journal and stored output',
    folderFromHere,
    config.defaultDataDirectory,
  ] as const;
  program
    .command('enroll')
    .description('make this machine an agent, with a token from the console')
    .requiredOption('--server <url>', 'address of the server: https://…')
    .option(
      '--token-file <path>',
      `file with the enrollment token; - for standard input; otherwise ${enrollmentTokenVariable} is used`,
    )
    .option(
      '--ca-pin <pin>',
      "sha256:… of the CA of the server's certificate; by default, the one in the token",
    )
    .option('--ca-file <path>', 'PEM of the CA to trust instead')
    .option('--name <name>', "the agent's name in the console", defaultName())
    .option(...dataOption)
    .option(
      '--force',
      'enroll again: give up the identity, and the keys of its segment, in this directory',
      false,
    )
    .action((options: EnrollCommand) => enrollCommand(options, config, log));
  program
    .command('run')
    .description('connect and run steps, until stopped')
    .option(...dataOption)
    .option(
      '--slots <number>',
      `how many steps run at a time, 1 to ${limits.maxSlots}`,
      parseSlots,
      limits.defaultSlots,
    )
    .option('--policy <file>', 'what the owner of this machine allows: YAML or JSON (docs/agent-policy.md)')
    .addOption(
      new Option(
        '--max-rss-mb <number>',
        'take no new steps while this process uses more memory than this, in MB',
      )
        .env(maxRssVariable)
        .argParser(parseAbove(0)),
    )
    .addOption(
      new Option('--max-load <number>', "take no new steps while the machine's one-minute load is above this")
        .env(maxLoadVariable)
        .argParser(parseAbove(0)),
    )
    .option(
      '--min-free-mb <number>',
      'take no new steps while the disk of the data directory has less room than this, in MB; 0 for no limit (default: 64)',
      parseFromZero,
    )
    .option(
      '--file-cache-mb <number>',
      "how much of the server's files to keep on disk for later steps, in MB (default: 4096)",
      parseAbove(0),
    )
    .option(
      '--ssh-idle-s <number>',
      'seconds for which an unused SSH connection is kept (default: 60)',
      parseAbove(0),
    )
    .option(
      '--allow-unverified-winrm',
      'let targets skip the check of their HTTPS certificate: anyone in between can then read everything',
      false,
    )
    .action((options: RunCommand) => runCommand(options, config, log));
  program
    .command('new-keys')
    .description('replace the keys of this agent, whether it runs or not')
    .option(...dataOption)
    .action(async ({ data }: { data: string }) => {
      process.stdout.write(`${await newKeys(data)}\n`);
    });
  program
    .command('use-server')
    .description('tell a stopped agent that its server has another address, or a certificate of another CA')
    .option('--server <url>', 'address of the server: https://…; by default it stays as it is')
    .option('--ca-pin <pin>', "sha256:… of the CA of the server's certificate")
    .option('--ca-file <path>', 'PEM of the CA to trust instead')
    .option('--system-cas', 'trust the CAs of this system instead', false)
    .option(...dataOption)
    .action(async ({ data, ...options }: UseServerCommand) => {
      process.stdout.write(`${await useServer({ ...options, dataDir: data, proxy: config.proxy })}\n`);
    });
  program
    .command('status')
    .description('show what this agent is and whether it runs, which its exit code says too')
    .option(...dataOption)
    .action(async (options: { data: string }) => {
      const { state, lines } = await describeStatus(options.data);
      process.stdout.write(`${lines.join('\n')}\n`);
      process.exitCode = statusCodes[state];
    });
  program
    .command('doctor')
    .description('check everything an agent needs and say what to fix')
    .option(...dataOption)
    .action((options: { data: string }) => doctorCommand(options, config));
  program
    .command('policy')
    .description('check a policy file')
    .command('check')
    .description('show what a policy file allows, or what is wrong with it')
    .argument('<file>', 'the policy file')
    .option(...dataOption)
    .action(async (file: string, { data }: { data: string }) => {
      const lines = describePolicy(await readPolicy(file, data));
      process.stdout.write(`${file} is valid. It allows:\n${lines.map((line) => `  ${line}\n`).join('')}`);
    });
  addVerifyWinrm(program);
  addStartRun(program, config);
  return program;
}

function addStartRun(program: Command, config: Config): void {
  program
    .command('start-run')
    .description(
      'start a run from a script, with secret parameters sealed on this machine; no agent is needed here',
    )
    .requiredOption('--server <url>', 'address of the server: https://…')
    .requiredOption('--job <id>', 'id of the job', parseId)
    .requiredOption('--request <path>', 'file with the JSON body of POST jobs/:id/run; - for standard input')
    .option('--secrets <path>', 'file with the secret parameters by name, as JSON; - for standard input')
    .option(
      '--token-file <path>',
      `file with an API token; - for standard input; otherwise ${apiTokenVariable} is used`,
    )
    .option('--roots <path>', 'file of the known roots of segments: nothing is sealed to other segments')
    .option('--learn-roots', 'add segments that are not in the file of --roots to it', false)
    .option('--ca-pin <pin>', "sha256:… of the CA of the server's certificate")
    .option('--ca-file <path>', 'PEM of the CA to trust instead')
    .action((options: StartRunCommand) => startRunCommand(options, config));
}

function addVerifyWinrm(program: Command): void {
  program
    .command('winrm-verify')
    .description('test a Windows host over WinRM the way steps use it, without a server')
    .requiredOption('--host <name>', 'name or address of the host')
    .requiredOption('--user <name>', 'DOMAIN\\name, name@domain, or a user of the host')
    .requiredOption('--password-file <path>', 'file with the password; - for standard input')
    .option('--port <number>', 'port of WinRM (default: 5986, or 5985 over HTTP)', parsePort)
    .addOption(new Option('--transport <name>', 'how to connect').choices(winrmTransports).default('https'))
    .addOption(
      new Option('--authentication <name>', 'how to log in').choices(winrmAuthentications).default('ntlm'),
    )
    .option('--principal <name>', 'for Kerberos: HTTP/name@REALM of the host')
    .option('--ca-file <path>', "PEM to verify the host's certificate with")
    .option('--insecure', "don't verify the host's certificate", false)
    .action(async (options: VerifyWinrm) => {
      const isGood = await verifyWinrm(options, (line) => process.stdout.write(`${line}\n`));
      if (!isGood) process.exitCode = exitCodes.failed;
    });
}

interface EnrollCommand {
  server: string;
  tokenFile?: string;
  caPin?: string;
  caFile?: string;
  name: string;
  data: string;
  force: boolean;
}

async function enrollCommand(
  options: EnrollCommand,
  { enrollmentToken, proxy }: Config,
  log: Logger,
): Promise<void> {
  const token = await readToken(options.tokenFile, enrollmentToken);
  const { server, caPin, caFile, name, data, force } = options;
  const identity = await enroll({ server, token, caPin, caFile, name, dataDir: data, force, proxy, log });
  process.stdout.write(
    `Enrolled as agent ${identity.agentName} of segment ${identity.segmentName}. Start it with: ${agentCommand()} run --data ${data}\n` +
      `Its keys are ${await fingerprintOf(dataDirectory(data))}: if an owner holds the segment's root, they need this fingerprint.\n` +
      usedUp(options.tokenFile),
  );
}

interface UseServerCommand {
  server?: string;
  caPin?: string;
  caFile?: string;
  systemCas: boolean;
  data: string;
}

/** The file is not this program's to remove: a person, or another program, has put it where it is. */
function usedUp(tokenFile: string | undefined): string {
  if (tokenFile === undefined || tokenFile === '-') return '';
  return `The token in ${tokenFile} is used up and enrolls no other machine: remove that file.\n`;
}

interface RunCommand {
  data: string;
  slots: number;
  policy?: string;
  maxRssMb?: number;
  maxLoad?: number;
  minFreeMb?: number;
  fileCacheMb?: number;
  sshIdleS?: number;
  allowUnverifiedWinrm: boolean;
}

/** A timer with a longer time fires at once. */
const maxTimerMs = 2 ** 31 - 1;

async function runCommand(options: RunCommand, { proxy, environment }: Config, log: Logger): Promise<void> {
  letHeapGrow();
  const policy = options.policy === undefined ? emptyPolicy : await readPolicy(options.policy, options.data);
  const agent = await startAgent({
    dataDir: options.data,
    slots: options.slots,
    busyLimits: {
      maxRssBytes: options.maxRssMb === undefined ? undefined : options.maxRssMb * 1024 * 1024,
      maxLoad: options.maxLoad,
    },
    ...(options.minFreeMb === undefined ? {} : { minFreeBytes: options.minFreeMb * 1024 * 1024 }),
    allowUnverifiedWinrm: options.allowUnverifiedWinrm,
    proxy,
    policy,
    environment,
    ...(options.fileCacheMb === undefined ? {} : { fileCacheBytes: options.fileCacheMb * 1024 * 1024 }),
    ...(options.sshIdleS === undefined ? {} : { sshIdleMs: Math.min(options.sshIdleS * 1_000, maxTimerMs) }),
    onDirectoryLost: () => {
      log.fatal(
        'another agent has taken this data directory over while this process stood still; it ends at once with exit code 1, and that agent reports what it ran',
      );
      process.exit(exitCodes.failed);
    },
    log,
  });
  const signals = new StopSignals();
  const onSignal = (signal: string) => {
    const asked = signals.take(signal);
    if (asked === 'nothing') return;
    if (asked === 'stop') {
      log.warn(
        { signal },
        'stopping at once; steps still running are reported as unknown at the next start, unless their commands survive the agent',
      );
      void agent.stop();
      return;
    }
    log.info(
      { signal, graceMs: drainGraceMs },
      'stopping when running steps have ended, or after the grace period; a second signal stops at once',
    );
    void agent.drain(drainGraceMs).then(() => agent.stop());
  };
  const { policy: policyFile } = options;
  process.on('SIGHUP', () => {
    if (policyFile !== undefined) void agent.readPolicyAgain(policyFile);
    // Without a handler, SIGHUP would end the agent.
    else
      log.warn(
        'ignored SIGHUP: it reads the policy file again, and this agent was started without one (--policy)',
      );
  });
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  const end = await agent.ended;
  // Exits explicitly: a step that was left behind may keep timers or sockets open.
  process.exit(end === 'quarantined' ? exitCodes.quarantined : 0);
}

interface StartRunCommand {
  server: string;
  job: number;
  request: string;
  secrets?: string;
  tokenFile?: string;
  roots?: string;
  learnRoots: boolean;
  caPin?: string;
  caFile?: string;
}

/** Prints the run as the server returns it, for a script to read. */
async function startRunCommand(options: StartRunCommand, { apiToken, proxy }: Config): Promise<void> {
  const { server, job, caPin, caFile, roots, learnRoots } = options;
  const sources = [options.request, options.secrets, options.tokenFile].filter((one) => one === '-');
  if (sources.length > 1) {
    throw new AgentError(
      'Standard input is named more than once.',
      'Give one of --request, --secrets and --token-file that way, and the others as files.',
    );
  }
  const token = await readApiToken(options.tokenFile, apiToken);
  const request = await readRequest(options.request);
  const secrets = options.secrets === undefined ? {} : await readSecrets(options.secrets);
  const run = await startRun({
    server,
    caPin,
    caFile,
    proxy,
    token,
    jobId: job,
    request,
    secrets,
    roots,
    learnRoots,
  });
  process.stdout.write(`${JSON.stringify(run, null, 2)}\n`);
}

async function doctorCommand({ data }: { data: string }, { proxy }: Config): Promise<void> {
  for await (const { ok, what, fix } of examine(data, proxy)) {
    process.stdout.write(`${ok ? 'ok   ' : 'FAIL '} ${visibleText(what)}\n`);
    if (fix !== undefined) process.stdout.write(`      ${visibleText(fix)}\n`);
    if (!ok) process.exitCode = exitCodes.failed;
  }
}

function parsePort(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw new InvalidArgumentError('Give a whole number from 1 to 65535.');
}

function parseId(text: string): number {
  const id = Number(text);
  if (Number.isSafeInteger(id) && id >= 1) return id;
  throw new InvalidArgumentError('Give a whole number: the one in the address of the job’s page.');
}

function parseSlots(text: string): number {
  const slots = Number(text);
  if (Number.isInteger(slots) && slots >= 1 && slots <= limits.maxSlots) return slots;
  throw new InvalidArgumentError(`Give a whole number from 1 to ${limits.maxSlots}.`);
}

function parseAbove(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isFinite(value) && value > least) return value;
    throw new InvalidArgumentError(`Give a number above ${least}.`);
  };
}

function parseFromZero(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError('Give a number, 0 or above.');
}

/** The machine's name, as far as it may be an agent's name. */
function defaultName(): string {
  const name = hostname()
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .slice(0, 63)
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '');
  return name === '' ? 'agent' : name;
}
