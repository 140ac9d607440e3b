// Many real agents in one process, each with its own keys, journal and connection, and a step type that needs no target:
// told by messages of agents.ts whom to enroll, it tells what each began, and when.
import { join } from 'node:path';
import { pino } from 'pino';
import { type RunningAgent, startAgent } from '../agent/src/agent.ts';
import { withoutProxy } from '../agent/src/connection/proxy.ts';
import { enroll } from '../agent/src/enrollment/enroll.ts';
import { monotonicMs } from './start-times.ts';

export interface NewAgent {
  server: string;
  token: string;
  name: string;
}
/** `connectedSince`: how many have a session that began after this moment. */
export type ToAgents = { dir: string; agents: NewAgent[] } | { connectedSince: number } | 'begun' | 'stop';
export type FromAgents =
  | { connected: number }
  | { begun: [marker: string, atMs: number][] }
  | { failed: string };

const log = pino({ level: 'error' }, pino.destination(2));
const running: RunningAgent[] = [];
/** When the newest session of each was resumed. */
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

async function start(dir: string, agent: NewAgent): Promise<void> {
  const dataDir = join(dir, agent.name);
  await enroll({ ...agent, dataDir, force: false, proxy: withoutProxy, log });
  const stepTypes = new Map([['ssh.exec', stepType]]);
  const started = await startAgent({ dataDir, slots: 4, log: sessionLog(agent.name), stepTypes });
  running.push(started);
  await started.connected;
}

/** Of an agent's sessions after the first only its log tells. */
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
    tell({ connected: [...connectedMs.values()].filter((ms) => ms > message.connectedSince).length });
  } else {
    const all = message.agents.map((agent) => start(message.dir, agent));
    Promise.all(all).then(
      () => tell({ connected: all.length }),
      (error) => tell({ failed: error instanceof Error ? (error.stack ?? '') : String(error) }),
    );
  }
});
