// The bare library that the agent is built on, in a loop: runs `true` on each host, as many hosts at a time as
// requested. A separate process, started once; each message requests a round.
import { once } from 'node:events';
import { connect } from 'node:net';
import { Client } from 'ssh2';

export interface LoopRound {
  hosts: string[];
  port: number;
  user: string;
  privateKey: string;
  concurrency: number;
  /** Keeps connections open, and uses those of the previous round. */
  warm: boolean;
}

const kept = new Map<string, Client>();

process.on('message', async (round: LoopRound) => {
  const before = process.cpuUsage();
  const startedMs = performance.now();
  const queue = [...round.hosts];
  await Promise.all(
    Array.from({ length: round.concurrency }, async () => {
      for (let host = queue.shift(); host !== undefined; host = queue.shift()) await runOn(host, round);
    }),
  );
  const elapsedMs = performance.now() - startedMs;
  const cpu = process.cpuUsage(before);
  process.send?.({ elapsedMs, cpuS: (cpu.user + cpu.system) / 1e6 });
});
process.on('disconnect', () => process.exit(0));

async function runOn(host: string, round: LoopRound): Promise<void> {
  const client = kept.get(host) ?? (await open(host, round));
  const code = await new Promise<number>((resolve, reject) => {
    client.exec('true', (error, channel) => {
      if (error !== undefined) return reject(error);
      channel.on('exit', resolve).resume();
      channel.stderr.resume();
    });
  });
  if (code !== 0) throw new Error(`${host}: exit code ${code}`);
  if (round.warm) kept.set(host, client);
  else client.end();
}

async function open(host: string, { port, user, privateKey }: LoopRound): Promise<Client> {
  const sock = connect({ host, port, noDelay: true });
  const client = new Client();
  client.on('close', () => kept.delete(host));
  client.connect({ sock, username: user, privateKey });
  await once(client, 'ready');
  return client;
}
