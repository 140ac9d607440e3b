// npm run dev: runs everything and reloads on changes. PostgreSQL keeps running, the server and the demo's agent
// restart when their sources change, and Vite serves the console. Arguments are passed to the server.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { watch } from 'node:fs';
import { join, resolve } from 'node:path';
import { register } from 'tsx/esm/api';
import { createServer } from 'vite';
import { buildAgentIfChanged } from './build.mjs';

const root = resolve(import.meta.dirname, '..');
const args = process.argv.slice(2);
const settleMs = 150;

const usage = `npm run dev -- [options of the server]

Runs everything, reloading: PostgreSQL keeps running, the server and the demo's agent restart when their sources change,
and Vite serves the console. Uses the data of npm start, whose --help lists the options.
`;
if (args.includes('--help')) {
  process.stdout.write(usage);
  process.exit(0);
}

function say(line) {
  process.stdout.write(`[dev] ${line}\n`);
}

function argument(flag) {
  const at = args.indexOf(flag);
  return at >= 0 ? args[at + 1] : args.find((arg) => arg.startsWith(`${flag}=`))?.slice(flag.length + 1);
}

/** Starts PostgreSQL separately, so that reloading the server is fast. Uses the data of `npm start`. */
async function startDatabase() {
  if (process.env.DATABASE_URL) return { url: process.env.DATABASE_URL, stop: async () => {} };
  register();
  const { startEmbeddedPostgres } = await import('../server/src/database/embedded-postgres.ts');
  const dataDir = argument('--data') ?? (process.env.OPSCONDUCTOR_DATA || join(root, '.opsconductor'));
  return startEmbeddedPostgres({ dataDir: join(resolve(dataDir), 'postgres'), log: say });
}

async function startConsole(serverPort) {
  const target = `http://127.0.0.1:${serverPort}`;
  const forwarded = { target, ws: true };
  const vite = await createServer({
    root: join(root, 'ui'),
    clearScreen: false,
    server: {
      host: '127.0.0.1',
      proxy: Object.fromEntries(
        ['/api', '/agent.mjs', '/ca.pem', '/healthz', '/readyz'].map((path) => [path, forwarded]),
      ),
    },
  });
  await vite.listen();
  return { url: `http://127.0.0.1:${vite.httpServer.address().port}`, close: () => vite.close() };
}

/** The server's process: only one at a time; a restart waits until the previous one has shut down. */
class ServerProcess {
  #env;
  #args;
  #child;
  #turn = Promise.resolve();

  constructor(serverArgs, env) {
    this.#args = serverArgs;
    this.#env = env;
  }

  restart() {
    this.#turn = this.#turn.then(async () => {
      await this.#end();
      // In its own process group: the terminal's Ctrl-C goes only to us, and we decide the order of shutdown.
      const child = spawn(
        process.execPath,
        ['--import', 'tsx', join(root, 'server/src/main.ts'), ...this.#args],
        { cwd: root, detached: true, stdio: ['ignore', 'inherit', 'inherit'], env: this.#env },
      );
      this.#child = child;
      child.once('exit', (code, signal) => {
        if (this.#child !== child) return;
        this.#child = undefined;
        say(`The server ended (${signal ?? code}); it is started again at the next change`);
      });
    });
    return this.#turn;
  }

  async stop() {
    await this.#turn;
    await this.#end();
  }

  async #end() {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  }
}

/** Calls `changed` once for a burst of changes; `agent` says whether the agent's program is affected. */
function watchSources(changed) {
  let timer;
  let agent = false;
  const note = (folder, name) => {
    if (name === null || name.endsWith('.test.ts') || !/\.(ts|css|sql)$/.test(name)) return;
    agent ||= folder === 'agent/src' || folder === 'protocol/src';
    clearTimeout(timer);
    timer = setTimeout(() => {
      const concerned = agent;
      agent = false;
      changed({ what: `${folder}/${name}`, agent: concerned });
    }, settleMs);
  };
  const watchers = ['server/src', 'protocol/src', 'agent/src', 'migrations'].map((folder) =>
    watch(join(root, folder), { recursive: true }, (_event, name) => note(folder, name)),
  );
  return () => {
    clearTimeout(timer);
    for (const watcher of watchers) watcher.close();
  };
}

const stopping = new Promise((done) => {
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, done);
});
const closers = [];
let failure;
try {
  await buildAgentIfChanged();
  const database = await startDatabase();
  closers.unshift(() => database.stop());
  const port = argument('--port') ?? (process.env.OPSCONDUCTOR_PORT || '7700');
  const consoleServer = await startConsole(port);
  closers.unshift(() => consoleServer.close());
  const server = new ServerProcess(['--public-url', consoleServer.url, ...args], {
    ...process.env,
    DATABASE_URL: database.url,
  });
  closers.unshift(() => server.stop());
  await server.restart();
  const unwatch = watchSources(({ what, agent }) => {
    say(`${what} changed: restarting the server`);
    (agent ? buildAgentIfChanged() : Promise.resolve()).then(
      () => server.restart(),
      (error) => say(`The agent can’t be built: ${error.message}`),
    );
  });
  closers.unshift(unwatch);
  say(
    `Console, reloading: ${consoleServer.url} · API: http://127.0.0.1:${port}/api/v1 · Ctrl-C stops everything`,
  );
  await stopping;
} catch (error) {
  failure = error;
}
for (const close of closers) await close();
if (failure !== undefined) {
  say(`Can’t start: ${failure.message}`);
  process.exit(1);
}
say('Stopped.');
process.exit(0);
