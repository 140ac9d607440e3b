// The queues that dispatch is compared with. They are not dependencies of the project; the benchmark installs them into
// a cache when it needs them.
import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { cpuSeconds } from './cpu-seconds.ts';
import type { PeerName, PeerReply, PeerRequest } from './queue-peer.ts';

const folder = resolve(import.meta.dirname, '../.cache/bench-peers');
const packages = { 'graphile-worker': '0.18.0', 'pg-boss': '12.38.0' };

export function ensureQueuePeers(): void {
  const missing = Object.entries(packages).filter(([name, version]) => installed(name)?.version !== version);
  if (missing.length === 0) return;
  mkdirSync(folder, { recursive: true });
  // Both declare a newer Node than they need: npm warns, but installs them.
  const wanted = Object.entries(packages).map(([name, version]) => `${name}@${version}`);
  const args = ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', ...wanted];
  execFileSync('npm', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** The versions, the Node that ran them and the Node they require, for readers of the figures. */
export function queuePeerVersions(): string {
  const each = Object.keys(packages).map((name) => {
    const { version, engines } = installed(name) ?? {};
    return `${name} ${version} (asks for Node ${engines?.node})`;
  });
  return `${each.join(' and ')}, both run by Node ${process.versions.node}, like the product`;
}

function installed(name: string): { version: string; engines?: { node?: string } } | undefined {
  const file = join(folder, 'node_modules', name, 'package.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

export class QueuePeer {
  readonly #child: ChildProcess;
  readonly #databasePid: number;

  private constructor(child: ChildProcess, databasePid: number) {
    this.#child = child;
    this.#databasePid = databasePid;
  }

  static async start(name: PeerName, database: { url: string; pid: number }): Promise<QueuePeer> {
    const args = [name, database.url, folder];
    const child = fork(join(import.meta.dirname, 'queue-peer.ts'), args, { execArgv: ['--import', 'tsx'] });
    await answerOf(child, name);
    return new QueuePeer(child, database.pid);
  }

  /** Returns the answer, and the CPU seconds of the peer and its database. */
  async ask(request: PeerRequest): Promise<PeerReply & { cpuS: number }> {
    const before = this.#cpuS();
    this.#child.send(request);
    const reply = await answerOf(this.#child, request.do);
    return { ...reply, cpuS: this.#cpuS() - before };
  }

  stop(): void {
    this.#child.disconnect();
  }

  #cpuS(): number {
    const used = cpuSeconds({ peer: this.#child.pid ?? 0, database: this.#databasePid });
    return Object.values(used).reduce((sum, seconds) => sum + seconds, 0);
  }
}

async function answerOf(child: ChildProcess, what: string): Promise<PeerReply> {
  const [reply] = await Promise.race([
    once(child, 'message') as Promise<[PeerReply]>,
    once(child, 'exit').then(([code]) => {
      throw new Error(`the peer ended with ${code} at ${what}`);
    }),
  ]);
  return reply;
}
