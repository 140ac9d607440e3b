// Many real agents in one process, each with its own keys, journal and connection, and a step type that needs no
// target. Messages from agents.ts say which agents to enroll; replies say what each began, and when.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { pino } from 'pino';
import { type RunningAgent, startAgent } from '../agent/src/agent.ts';
import { withoutProxy } from '../agent/src/connection/proxy.ts';
import { enroll } from '../agent/src/enrollment/enroll.ts';
import { monotonicMs } from './start-times.ts';

export interface NewAgent {
  /** The server's port. */
  port: number;
  /** The address that it connects from. */
  localAddress: string;
  token: string;
  name: string;
}
/** `connectedSince`: asks which agents have a session that began after this moment. */
export type ToAgents = { dir: string; agents: NewAgent[] } | { connectedSince: number } | 'begun' | 'stop';
export type FromAgents =
  | { connected: [name: string, atMs: number][] }
  | { started: number }
  | { begun: [marker: string, atMs: number][] }
  | { failed: string };

const log = pino({ level: 'error' }, pino.destination(2));
const running: RunningAgent[] = [];
/** When the newest session of each agent was resumed. */
const connectedMs = new Map<string, number>();
const begun: [string, number][] = [];

const stepType = {
  configProblem: () => undefined,
  async execute(
    config: unknown,
    context: { marker: string; signal: AbortSignal; beforeStart(): Promise<void> },
  ) {
    await context.beforeStart();
    begun.push([context.marker, monotonicMs()]);
    const [, seconds] = /^sleep (\d+)$/.exec((config as { command: string }).command) ?? [];
    if (seconds !== undefined) await new Promise((resolve) => setTimeout(resolve, Number(seconds) * 1_000));
    return { status: 'succeeded' as const, exitCode: 0, executionTimeMs: 0 };
  },
};

const relays = new Map<string, Promise<string>>();

/** Returns where the agents of an address connect to: traffic there is forwarded to the server from that address. */
function relay({ port, localAddress }: NewAgent): Promise<string> {
  const known = relays.get(localAddress) ?? startRelay(port, localAddress);
  relays.set(localAddress, known);
  return known;
}

async function startRelay(port: number, localAddress: string): Promise<string> {
  const server = createServer((near) => {
    const far = connect({ host: '127.0.0.1', port, localAddress });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.setNoDelay(true);
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
      from.pipe(to);
    }
  }).listen(0, '127.0.0.1');
  server.unref();
  await once(server, 'listening');
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function start(dir: string, agent: NewAgent): Promise<void> {
  const { name, token } = agent;
  const dataDir = join(dir, name);
  const server = await relay(agent);
  await enroll({ server, token, name, dataDir, force: false, proxy: withoutProxy, log });
  const stepTypes = new Map([['ssh.exec', stepType]]);
  const started = await startAgent({ dataDir, slots: 4, log: sessionLog(agent.name), stepTypes });
  running.push(started);
  await started.connected;
}

/** Sessions of an agent after its first are visible only in its log. */
function sessionLog(name: string) {
  const write = (line: string) => {
    if (line.includes('"msg":"connected"')) connectedMs.set(name, monotonicMs());
    else if (/^\{"level":[56]0/.test(line)) process.stderr.write(line);
  };
  return pino({ level: 'info' }, { write });
}

function tell(message: FromAgents): void {
  process.send?.(message);
}

process.on('message', (message: ToAgents) => {
  if (message === 'begun') tell({ begun: begun.splice(0) });
  else if (message === 'stop') {
    void Promise.all(running.map((agent) => agent.stop())).then(() => process.exit(0));
  } else if ('connectedSince' in message) {
    tell({ connected: [...connectedMs].filter(([, ms]) => ms > message.connectedSince) });
  } else {
    const all = message.agents.map((agent) => start(message.dir, agent));
    Promise.all(all).then(
      () => tell({ started: all.length }),
      (error) => tell({ failed: error instanceof Error ? (error.stack ?? '') : String(error) }),
    );
  }
});
