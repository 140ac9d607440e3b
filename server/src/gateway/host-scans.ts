// Gives targets of scans to agents of their segments that can scan, a few ahead each, and notes what they tell. What an
// agent held when its connection ended waits again.
import { limits, type ServerMessageOf } from '@opsconductor/protocol';
import { hostTrustOf } from '../host-keys/host-trust-of.ts';
import { recordScanned } from '../host-keys/record-scanned.ts';
import type { Log } from '../log.ts';
import type { Sql } from '../store/database/connection.ts';
import { giveItems, segmentsToScan, sweepScans, takeBackItems } from '../store/targets/host-scans.ts';
import { readTrust } from '../store/targets/host-trust.ts';
import { connectionOf } from '../targets/connection-of.ts';
import { wayOf } from '../targets/jump-hosts.ts';
import type { AgentLink } from './agent-link.ts';

const pollMs = 2_000;
/** An agent is given more when it has room for so many. */
const minRoom = 32;

type Place = { host: string; port: number; connectTimeoutS?: number };
interface Scanner {
  link: AgentLink;
  /** Where it was sent, by `scan.target`. */
  given: Map<string, Place>;
}

export interface HostScansDeps {
  sql: Sql;
  log: Log;
  pollMs?: number | undefined;
}

export class HostScans {
  readonly #deps: HostScansDeps;
  readonly #scanners = new Map<AgentLink, Scanner>();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #again = false;
  #stopped = false;

  constructor(deps: HostScansDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setInterval(() => this.#poll(), this.#deps.pollMs ?? pollMs);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#round;
  }

  /** An agent's session is ready; what its sessions before it held waits again. */
  async ready(link: AgentLink, canScan: boolean): Promise<void> {
    const { agentId, sessionNumber } = link;
    await takeBackItems(this.#deps.sql, { agentId, sessionNumber }, { including: false });
    if (canScan) this.#scanners.set(link, { link, given: new Map() });
    this.wake();
  }

  async closed(link: AgentLink): Promise<void> {
    const { agentId, sessionNumber } = link;
    const scanner = this.#scanners.get(link);
    if (!this.#scanners.delete(link) || scanner === undefined) return;
    await this.#round;
    await takeBackItems(this.#deps.sql, { agentId, sessionNumber }, { including: true });
    this.wake();
  }

  /** There may be something to give out. */
  wake(): void {
    if (this.#stopped) return;
    if (this.#round !== undefined) {
      this.#again = true;
      return;
    }
    this.#round = this.#giveOut()
      .catch((error: unknown) => this.#deps.log.warn({ err: error }, 'targets of scans were not given out'))
      .finally(() => {
        this.#round = undefined;
        if (!this.#again) return;
        this.#again = false;
        this.wake();
      });
  }

  cancel(scanId: number): void {
    for (const { link, given } of this.#scanners.values()) {
      for (const key of [...given.keys()]) if (key.startsWith(`${scanId}.`)) given.delete(key);
      link.send({ type: 'scan_cancel', scanId });
    }
    this.wake();
  }

  async scanned(link: AgentLink, { scanId, hosts }: { scanId: number } & Scanned): Promise<void> {
    const given = this.#scanners.get(link)?.given;
    if (given === undefined) return;
    await recordScanned(this.#deps.sql, link.agentId, scanId, hosts, (targetId) => {
      const place = given.get(`${scanId}.${targetId}`);
      return place === undefined ? undefined : { host: place.host, port: place.port };
    });
    for (const { targetId } of hosts) given.delete(`${scanId}.${targetId}`);
    if (limits.maxScansGiven - given.size >= minRoom) this.wake();
  }

  #poll(): void {
    void sweepScans(this.#deps.sql).then(
      () => this.wake(),
      (error: unknown) => this.#deps.log.warn({ err: error }, 'scans could not be swept'),
    );
  }

  async #giveOut(): Promise<void> {
    if (this.#scanners.size === 0) return;
    const segments = new Set(await segmentsToScan(this.#deps.sql));
    for (const scanner of [...this.#scanners.values()]) {
      const { link, given } = scanner;
      const room = limits.maxScansGiven - given.size;
      if (!segments.has(link.segmentId) || link.isDraining || room < minRoom) continue;
      await this.#giveTo(scanner, room);
    }
  }

  async #giveTo({ link, given }: Scanner, room: number): Promise<void> {
    const { sql } = this.#deps;
    const { agentId, segmentId, sessionNumber } = link;
    const items = await giveItems(sql, { agentId, segmentId, sessionNumber }, room);
    if (items.length === 0) return;
    const trust = hostTrustOf(await readTrust(sql, segmentId));
    const messages = new Map<number, ServerMessageOf<'scan_hosts'>>();
    const behind = new Map<number, BehindJumpHost[]>();
    for (const { scanId, kind, targetId, name, host, port: ownPort, settings } of items) {
      const { port, connectTimeoutS, jumpHosts } = connectionOf(settings, ownPort);
      // From the agent's own network the address may be another machine's, whose key would be taken for this one's.
      if (wayOf(name, jumpHosts).length > 0) {
        behind.set(scanId, [...(behind.get(scanId) ?? []), { targetId, host, port }]);
        continue;
      }
      const place: Place = { host, port, ...(connectTimeoutS === undefined ? {} : { connectTimeoutS }) };
      given.set(`${scanId}.${targetId}`, place);
      const message = messages.get(scanId) ?? { type: 'scan_hosts', scanId, kind, targets: [], ...trust };
      message.targets.push({ id: targetId, ...place });
      messages.set(scanId, message);
    }
    for (const message of messages.values()) link.send(message);
    for (const [scanId, hosts] of behind) await leaveBehindJumpHosts(sql, agentId, scanId, hosts);
  }
}

interface BehindJumpHost {
  targetId: number;
  host: string;
  port: number;
}

/** Scans look from the agent, without a login, and so pass no jump host. */
async function leaveBehindJumpHosts(
  sql: Sql,
  agentId: number,
  scanId: number,
  hosts: readonly BehindJumpHost[],
): Promise<void> {
  const places = new Map(hosts.map(({ targetId, host, port }) => [targetId, { host, port }]));
  const told = hosts.map(({ targetId }) => ({
    targetId,
    ok: false,
    keys: [],
    reason: 'behind_jump_host',
    message: 'It is reached through a jump host, which a scan does not pass.',
    advice: 'Accept its key by a test of the target, or import it from a known_hosts file.',
  }));
  await recordScanned(sql, agentId, scanId, told, (targetId) => places.get(targetId));
}

type Scanned = { hosts: Parameters<typeof recordScanned>[3] };
