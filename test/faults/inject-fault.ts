// Carries out a planned fault, and undoes it.
import { readdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { runRestoredCommand } from '../../server/src/restore/restored-command.ts';
import type { AgentMember, Cluster, ServerMember } from './cluster.ts';
import type { Direction, PlannedFault } from './plan-round.ts';
import { Prng } from './prng.ts';
import { fail, pause, signalPid } from './waiting.ts';

const migrations = resolve(import.meta.dirname, '../../migrations');

/**
 * Begins immediately, in the caller's turn of the event loop; resolves when the fault is over. Resolves with false if
 * there was none, because the process to be frozen was not running or was killed at that moment.
 *
 * @param lasts resolves when a frozen process or a disturbed network should recover.
 */
export async function injectFault(
  cluster: Cluster,
  fault: PlannedFault,
  lasts: () => Promise<void> = () => pause(fault.forMs),
): Promise<boolean> {
  return (await carryOut(cluster, fault, lasts)) !== false;
}

async function carryOut(cluster: Cluster, fault: PlannedFault, lasts: () => Promise<void>): Promise<unknown> {
  const agent = cluster.agents[fault.member] ?? fail('there is no such agent');
  const server = cluster.servers[fault.member % cluster.servers.length] ?? fail('there is no such server');
  switch (fault.kind) {
    case 'agent-killed':
    case 'agent-disk-lost':
    case 'agent-gone':
      return killAgent(agent, fault);
    case 'server-killed':
      return killServer(server, fault);
    case 'agent-stopped':
      return freeze(agent, lasts);
    case 'server-stopped':
      return freeze(server, lasts);
    case 'suspended':
      return suspend(agent, fault.forMs);
    case 'clock-stepped':
      agent.clock.step(fault.amountMs);
      return;
    case 'target-cut':
      cluster.sshd.killSessions();
      return;
    case 'postgres-killed':
      return cluster.database.inTurn(async () => {
        signalPid(cluster.database.postmasterPid, 'SIGKILL');
        await cluster.databaseAnswers();
      });
    case 'database-restored':
      return cluster.database.inTurn(() => restoreDatabase(cluster, fault.forMs));
    case 'standby-promoted':
      return cluster.database.inTurn(async () => {
        await cluster.database.failOver();
        await cluster.databaseAnswers();
      });
    case 'postgres-stopped':
      return cluster.database.inTurn(() => freezePostgres(cluster, fault.forMs));
    case 'database-cut':
      server.relay.reset();
      return;
    case 'database-outage':
      for (const { relay } of cluster.servers) relay.cut();
      return healAfter(lasts, ...cluster.servers);
    default:
      return troubleNetwork(agent, fault, lasts);
  }
}

async function troubleNetwork(
  agent: AgentMember,
  fault: PlannedFault,
  lasts: () => Promise<void>,
): Promise<void> {
  const { relay } = agent;
  const directions: Direction[] = fault.direction === 'both' ? ['up', 'down'] : [fault.direction];
  const random = new Prng(fault.forMs, fault.amountMs);
  if (fault.kind === 'network-cut') relay.cut();
  else if (fault.kind === 'network-stalled') relay.silence(['up', 'down']);
  else if (fault.kind === 'network-half-open') {
    if (fault.gone === undefined) relay.silence(directions.slice(0, 1));
    else relay.loseSide(fault.gone);
  } else if (fault.kind === 'frames-delayed')
    relay.setTrouble(directions, { delayMs: fault.amountMs, random });
  else if (fault.kind === 'frames-duplicated') relay.setTrouble(directions, { duplicated: 40, random });
  else if (fault.kind === 'frames-reordered') relay.setTrouble(directions, { reordered: 30, random });
  await healAfter(lasts, agent);
}

async function healAfter(
  lasts: () => Promise<void>,
  ...members: { relay: { heal(): void } }[]
): Promise<void> {
  await lasts();
  for (const { relay } of members) relay.heal();
}

async function killAgent(agent: AgentMember, fault: PlannedFault): Promise<void> {
  await agent.program.kill();
  if (fault.kind === 'agent-disk-lost') {
    await rm(join(agent.dataDir, 'journal'), { force: true });
    const spool = join(agent.dataDir, 'spool');
    for (const name of await readdir(spool)) await rm(join(spool, name), { force: true });
  }
  await pause(fault.forMs);
  await agent.program.start();
}

async function killServer(server: ServerMember, fault: PlannedFault): Promise<void> {
  await server.program.kill();
  await pause(fault.forMs);
  await server.program.start();
}

async function freeze(
  { program }: { program: AgentMember['program'] },
  lasts: () => Promise<void>,
): Promise<boolean> {
  const isFrozen = await program.freeze();
  await lasts();
  await program.thaw();
  return isFrozen;
}

/** Simulates a machine that slept: its monotonic clock doesn't notice. */
async function suspend(agent: AgentMember, ms: number): Promise<boolean> {
  const from = performance.now();
  const isFrozen = await agent.program.freeze();
  await pause(ms);
  if (isFrozen) agent.clock.slept(performance.now() - from);
  await agent.program.thaw();
  return isFrozen;
}

async function freezePostgres(cluster: Cluster, ms: number): Promise<void> {
  await cluster.database.freeze();
  try {
    await pause(ms);
  } finally {
    await cluster.database.thaw();
  }
}

/** As a person would: stops the servers, restores the backup, tells the database about it, starts the servers. */
async function restoreDatabase(cluster: Cluster, lostMs: number): Promise<void> {
  const { database, servers } = cluster;
  await cluster.databaseAnswers();
  await database.backUp();
  await pause(lostMs);
  cluster.restores += 1;
  for (const { program } of servers) program.isHeld = true;
  await Promise.all(servers.map(({ program }) => program.kill()));
  await database.restore();
  await cluster.databaseAnswers();
  const said: string[] = [];
  const command = { sql: cluster.sql, migrations, say: (text: string) => said.push(text), lookMs: 10 };
  if ((await runRestoredCommand(command)) !== 0) throw new Error(said.join('\n'));
  for (const { program } of servers) program.isHeld = false;
  await Promise.all(servers.map(({ program }) => program.start()));
}
