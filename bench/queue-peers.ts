// The queues that dispatch is compared with, which are no dependencies of the project: installed into a cache when the
// benchmark wants them.
import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { cpuSeconds } from './cpu-seconds.ts';
import type { PeerName, PeerReply, PeerRequest } from './queue-peer.ts';

const folder = resolve(import.meta.dirname, '../.cache/bench-peers');
const packages = ['graphile-worker@0.18', 'pg-boss@12'];

export function ensureQueuePeers(): void {
  if (
    existsSync(join(folder, 'node_modules/graphile-worker')) &&
    existsSync(join(folder, 'node_modules/pg-boss'))
  )
    return;
  mkdirSync(folder, { recursive: true });
  // pg-boss asks for a newer Node than it needs.
  const args = ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', ...packages];
  execFileSync('npm', args, { stdio: ['ignore', 'ignore', 'inherit'] });
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

  /** What it answers, and the CPU seconds of it and its database. */
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
