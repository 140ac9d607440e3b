// The demo: a segment with a real agent and a real SSH target on this machine, so that the first run goes all the way.
// Made on the first start of an empty installation. Later starts bring its two processes back, or continue where the
// first start was interrupted.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Authority } from '../auth/authority.ts';
import { administratorName } from '../auth/installation/bootstrap-administrator.ts';
import type { Caller } from '../caller.ts';
import type { Config } from '../config.ts';
import { makeDataDirectory } from '../database/database-home.ts';
import type { Log } from '../log.ts';
import { makeFolder } from '../make-folder.ts';
import type { RunningServer } from '../server.ts';
import { findUserByName } from '../store/people/users.ts';
import {
  createDemoSegment,
  createDemoTarget,
  createSampleJobs,
  type DemoSsh,
  demoToken,
  hasOnlyDemo,
  startFirstRun,
} from './demo-content.ts';
import { makeDemoKeys } from './demo-keys.ts';
import { DemoProcess } from './demo-process.ts';
import { type DemoState, isMarked, markUnfinished, parseFile, readState, saveState } from './demo-state.ts';
import { sampleJobs } from './sample-jobs.ts';
import { showRun } from './show-run.ts';

export interface QuickstartDeps {
  config: Config;
  server: RunningServer;
  agentBundle: string;
  log: Log;
  say(message: string): void;
}

export interface Quickstart {
  /** Resolves when the first run has been shown; at once on later starts. */
  shown: Promise<void>;
  stop(): Promise<void>;
}

const startTimeoutMs = 20_000;
const otherDataDirectory = 'Choose another data directory with --data.';

/** Called before the server starts: if that is interrupted, a later start knows that the demo was wanted. */
export async function noteWanted({ dataDir, masterKeyFile, demo }: Config): Promise<void> {
  const folder = join(dataDir, 'demo');
  if (!demo || (await isThere(masterKeyFile)) || (await isThere(folder))) return;
  await makeDataDirectory(dataDir);
  await makeFolder(folder, 0o700, otherDataDirectory);
  await markUnfinished(folder);
}

/**
 * Sets the demo up, or brings it back. Does nothing in an installation that wasn't started with it. If it can't be
 * brought back, this only says so, because the server matters more than the demo.
 */
export async function startQuickstart(deps: QuickstartDeps): Promise<Quickstart> {
  const folder = join(deps.config.dataDir, 'demo');
  try {
    return await startDemo(deps, folder);
  } catch (error) {
    if (!(await isThere(join(folder, 'demo.json')))) throw error;
    deps.log.warn({ err: error }, 'the demo could not be started again; the server runs without it');
    deps.say(
      `The demo can’t be started again; the server runs without it: ${error instanceof Error ? error.message : error}`,
    );
    deps.say(`The files of the demo are still in ${folder}.`);
    return { shown: Promise.resolve(), stop: async () => {} };
  }
}

async function startDemo(deps: QuickstartDeps, folder: string): Promise<Quickstart> {
  const state = await readState(folder);
  const { server } = deps;
  // The mark alone is not enough: others may have worked in the database since.
  const isUnfinished = server.isNew || ((await isMarked(folder)) && (await hasOnlyDemo(server)));
  if (state === undefined && !isUnfinished) return { shown: Promise.resolve(), stop: async () => {} };
  await makeFolder(folder, 0o700, otherDataDirectory);
  await makeFolder(join(folder, 'ssh'), 0o700, otherDataDirectory);
  await makeDemoKeys(join(folder, 'ssh'));
  const ssh = demoSshServer(deps, folder);
  await ssh.start();
  const agent = demoAgent(deps, folder);
  const stop = async () => {
    await agent.stop((graceMs) =>
      deps.say(
        `The demo’s agent finishes what it runs; what is not done within ${Math.round(graceMs / 1_000)} s is cut off.`,
      ),
    );
    await ssh.stop();
  };
  try {
    const demoSsh = await readSsh(folder);
    if (state !== undefined) {
      await bringBack(deps, folder, state, demoSsh, agent);
      return { shown: Promise.resolve(), stop };
    }
    const runId = await setUp(deps, folder, demoSsh, agent);
    return { shown: show(deps, runId), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Continues from whatever exists, because the previous start may have ended at any moment. */
async function setUp(
  deps: QuickstartDeps,
  folder: string,
  ssh: DemoSsh,
  agent: DemoProcess,
): Promise<number> {
  const { server, say } = deps;
  const caller = await administrator(server);
  say('First start: making a segment with an agent and this machine as its target');
  const segmentId = await createDemoSegment(server, caller);
  if (!(await isThere(join(folder, 'agent/identity.json')))) {
    await enroll(deps, folder, await demoToken(server, folder, segmentId, caller));
  } else await followServer(deps, folder, agent);
  await agent.start();
  const targetId = await createDemoTarget(server, segmentId, ssh, caller);
  const jobId = await createSampleJobs(server, caller);
  const runId = await startFirstRun(server, { jobId, targetId }, caller);
  await saveState(folder, { segmentId, targetId, sshPort: ssh.port });
  return runId;
}

async function bringBack(
  deps: QuickstartDeps,
  folder: string,
  state: DemoState,
  ssh: DemoSsh,
  agent: DemoProcess,
): Promise<void> {
  if (ssh.port !== state.sshPort) {
    const caller = await administrator(deps.server);
    await createDemoTarget(deps.server, state.segmentId, ssh, caller, state.targetId);
    await saveState(folder, { ...state, sshPort: ssh.port });
  }
  await followServer(deps, folder, agent);
  await agent.start();
}

/** The agent knows the server by its address and its CA, so it is told if the port or the certificate is another. */
async function followServer(deps: QuickstartDeps, folder: string, agent: DemoProcess): Promise<void> {
  const { localUrl, caPin } = deps.server;
  const file = join(folder, 'agent/identity.json');
  const identity = parseFile<{ server: string }>(file, await readFile(file, 'utf8'));
  const hasPinned = await isThere(join(folder, 'agent/ca.pem'));
  if (identity.server === localUrl && hasPinned === (caPin !== undefined)) return;
  await agent.endOlder();
  const pin = caPin === undefined ? [] : ['--ca-pin', caPin];
  await runAgentCommand(deps, folder, ['use-server', '--server', localUrl, ...pin]);
}

async function show(deps: QuickstartDeps, runId: number): Promise<void> {
  const { server, say } = deps;
  say('');
  say(`Run ${runId}: “${sampleJobs[0]?.name}” on this machine, over SSH, through the agent`);
  const names = sampleJobs[0]?.steps.map((step) => step.name) ?? [];
  const status = await showRun(server, runId, names, say);
  say(`Run ${runId} ${status}. See it at ${server.url}/runs/${runId}`);
}

async function administrator(server: RunningServer): Promise<Caller> {
  const user = await findUserByName(server.sql, administratorName);
  if (user === undefined) throw new Error('there is no administrator');
  return {
    userId: user.id,
    name: user.name,
    authority: new Authority(user.grants),
    address: 'quickstart',
    requestId: 'quickstart',
  };
}

function demoSshServer(deps: QuickstartDeps, folder: string): DemoProcess {
  return new DemoProcess({
    name: 'demo SSH server',
    // By path, because a bare name would be resolved from the folder in which the server was started.
    args: [
      '--import',
      import.meta.resolve('tsx'),
      join(import.meta.dirname, 'ssh-server-main.ts'),
      join(folder, 'ssh'),
    ],
    pidFile: join(folder, 'ssh/pid'),
    logFile: join(folder, 'ssh/log'),
    log: deps.log,
  });
}

function demoAgent(deps: QuickstartDeps, folder: string): DemoProcess {
  return new DemoProcess({
    name: 'demo agent',
    args: [deps.agentBundle, 'run', '--data', join(folder, 'agent')],
    pidFile: join(folder, 'agent.pid'),
    logFile: join(folder, 'agent.log'),
    log: deps.log,
  });
}

/** Enrolls like any agent; the token is passed on stdin. */
async function enroll(deps: QuickstartDeps, folder: string, token: string): Promise<void> {
  const { localUrl } = deps.server;
  const args = ['enroll', '--server', localUrl, '--token-file', '-', '--name', 'quickstart-agent'];
  await runAgentCommand(deps, folder, args, `${token}\n`);
}

async function runAgentCommand(
  { agentBundle }: QuickstartDeps,
  folder: string,
  args: readonly string[],
  input = '',
): Promise<void> {
  const child = spawn(process.execPath, [agentBundle, ...args, '--data', join(folder, 'agent')], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (data: Buffer) => {
    output += data.toString();
  });
  child.stderr.on('data', (data: Buffer) => {
    output += data.toString();
  });
  child.stdin.end(input);
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`The demo's agent: ${args[0]} failed:\n${output}`);
}

/** Waits until this start's SSH server has reported where it listens. */
async function readSsh(folder: string): Promise<DemoSsh> {
  const deadline = Date.now() + startTimeoutMs;
  const pidFile = join(folder, 'ssh/pid');
  while (Date.now() < deadline) {
    const state = await readFile(join(folder, 'ssh/ssh-server.json'), 'utf8')
      .then((text) => JSON.parse(text) as { pid: number; port: number; user: string; hostKeyLine: string })
      .catch(() => undefined);
    const pid = Number(await readFile(pidFile, 'utf8').catch(() => '0'));
    if (state !== undefined && state.pid === pid) {
      return { ...state, privateKey: await readFile(join(folder, 'ssh/client-key'), 'utf8') };
    }
    await new Promise((next) => setTimeout(next, 50));
  }
  const said = await readFile(join(folder, 'ssh/log'), 'utf8').catch(() => '');
  throw new Error(
    `The demo's SSH server did not start within ${startTimeoutMs / 1000} s.\n${said.slice(-2000)}`,
  );
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
